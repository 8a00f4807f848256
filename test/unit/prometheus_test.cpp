// The numbers as a scraper reads them: names by the conventions, histograms that add up.
#include "relay/process/prometheus.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace once {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Histogram, CountsByUpperBoundAndAddsUp) {
    Histogram histogram{kSecondsBounds};
    histogram.observe(0.001); // a bound belongs to its own bucket
    histogram.observe(0.0011);
    histogram.observe(100);
    EXPECT_EQ(histogram.count(0), 1u);
    EXPECT_EQ(histogram.count(1), 1u);
    EXPECT_EQ(histogram.count(histogram.bounds().size()), 1u);
    EXPECT_DOUBLE_EQ(histogram.sum(), 100.0021);
}

TEST(Prometheus, BucketsAreCumulativeAndEndWithInfinity) {
    Metrics metrics;
    LaneMetrics &lane = metrics.lane(3);
    lane.transaction_events.observe(2);
    lane.transaction_events.observe(1e9);
    const std::string text = prometheus_text(metrics);
    EXPECT_THAT(text, HasSubstr("once_outbox_transaction_events_bucket{lane=\"3\",le=\"3\"} 1\n"));
    EXPECT_THAT(text,
                HasSubstr("once_outbox_transaction_events_bucket{lane=\"3\",le=\"+Inf\"} 2\n"));
    EXPECT_THAT(text, HasSubstr("once_outbox_transaction_events_count{lane=\"3\"} 2\n"));
}

TEST(Prometheus, ACommitTimeIsAbsentBeforeTheFirstCommit) {
    Metrics metrics;
    LaneMetrics &lane = metrics.lane(0);
    const std::string sample = "once_outbox_last_commit_timestamp_seconds{";
    EXPECT_THAT(prometheus_text(metrics), Not(HasSubstr(sample)));
    lane.committed(false);
    EXPECT_THAT(prometheus_text(metrics), HasSubstr(sample));
}

TEST(Prometheus, FailedAttemptsAreCountedUntilACommit) {
    Metrics metrics;
    LaneMetrics &lane = metrics.lane(0);
    EXPECT_EQ(lane.failed(), 1);
    EXPECT_EQ(lane.failed(), 2);
    EXPECT_THAT(prometheus_text(metrics), HasSubstr("once_outbox_failed_attempts{lane=\"0\"} 2\n"));
    lane.looked(true); // work is there, and none of it got through
    EXPECT_EQ(lane.failed_attempts, 2);
    lane.committed(true);
    EXPECT_THAT(prometheus_text(metrics), HasSubstr("once_outbox_failed_attempts{lane=\"0\"} 0\n"));
}

TEST(Prometheus, NothingLeftToDoEndsARowOfFailures) {
    LaneMetrics lane(0);
    lane.failed();
    lane.looked(false);
    EXPECT_EQ(lane.failed_attempts, 0);
}

TEST(Prometheus, TheProcessIsDescribedAsByOtherClients) {
    const std::string text = prometheus_text(Metrics{});
    for (const char *name :
         {"process_cpu_seconds_total", "process_start_time_seconds", "process_open_fds",
          "process_max_fds", "process_resident_memory_bytes", "once_relay_build_info"})
        EXPECT_THAT(text, HasSubstr(std::string("\n") + name)) << name;
    EXPECT_THAT(text, Not(HasSubstr("process_open_fds 0\n")));
    EXPECT_THAT(text, Not(HasSubstr("process_start_time_seconds 0\n")));
}

TEST(Prometheus, OpenMetricsOnlyForWhoNamesIt) {
    EXPECT_EQ(metrics_format("text/plain;version=0.0.4, */*"), MetricsFormat::prometheus);
    const MetricsFormat asked =
        metrics_format("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    EXPECT_EQ(asked, MetricsFormat::openmetrics);
    Metrics metrics;
    metrics.lane(0);
    const std::string text = prometheus_text(metrics, asked);
    EXPECT_TRUE(text.ends_with("# EOF\n"));
    EXPECT_THAT(text, HasSubstr("# TYPE once_outbox_events counter\n"));
    EXPECT_THAT(text, HasSubstr("# HELP once_outbox_events Events"));
    EXPECT_THAT(text, HasSubstr("once_outbox_events_total{lane=\"0\"} 0\n"));
    EXPECT_THAT(prometheus_text(metrics), HasSubstr("# TYPE once_outbox_events_total counter\n"));
}

} // namespace
} // namespace once
