// Health is measured: a worker that believes it runs but commits nothing is not ready.
#include "relay/process/http.hpp"
#include "relay/process/metrics.hpp"
#include "relay/process/progress_bar.hpp"
#include "relay/process/stop_signal.hpp"

#include <csignal>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

namespace once {
namespace {

using ::testing::HasSubstr;
constexpr std::int64_t kStaleMs = 10'000;

TEST(Health, NothingStartedIsAliveAndNotReady) {
    Metrics metrics;
    EXPECT_TRUE(metrics.alive(kStaleMs).good);
    EXPECT_FALSE(metrics.progressing(kStaleMs).good);
}

TEST(Health, IdleWithAnswersOfTheSourceIsReady) {
    Metrics metrics;
    LaneMetrics &lane = metrics.lane(0);
    lane.enter(WorkState::running);
    EXPECT_FALSE(metrics.progressing(kStaleMs).good) << "no answer of the source yet";
    lane.looked(false);
    EXPECT_TRUE(metrics.progressing(kStaleMs).good);
    lane.looked_ms = now_ms() - kStaleMs - 1;
    EXPECT_THAT(metrics.progressing(kStaleMs).reason, HasSubstr("no answer"));
}

TEST(Health, WorkWithoutACommitIsNotReadyAlthoughTheThreadRuns) {
    Metrics metrics;
    LaneMetrics &lane = metrics.lane(0);
    lane.enter(WorkState::running);
    lane.looked(true);
    EXPECT_TRUE(metrics.progressing(kStaleMs).good);
    lane.pending_since_ms = now_ms() - kStaleMs - 1;
    lane.looked(true);
    EXPECT_THAT(metrics.progressing(kStaleMs).reason, HasSubstr("committed none"));
    EXPECT_TRUE(metrics.alive(kStaleMs).good);
    lane.committed(true);
    EXPECT_TRUE(metrics.progressing(kStaleMs).good);
}

TEST(Health, StatesThatShipNothingAreNotReadyButAStandbyIs) {
    Metrics metrics;
    LaneMetrics &lane = metrics.lane(0);
    for (const WorkState state : {WorkState::starting, WorkState::recovering, WorkState::retrying,
                                  WorkState::blocked, WorkState::stopping}) {
        lane.enter(state);
        EXPECT_FALSE(metrics.progressing(kStaleMs).good) << to_string(state);
    }
    lane.enter(WorkState::standby);
    EXPECT_TRUE(metrics.progressing(kStaleMs).good);
}

TEST(Health, ASilentThreadIsNotAlive) {
    Metrics metrics;
    metrics.lane(0).beat();
    EXPECT_TRUE(metrics.alive(kStaleMs).good);
    metrics.inbox("billing", "orders").heartbeat_ms = now_ms() - kStaleMs - 1;
    EXPECT_THAT(metrics.alive(kStaleMs).reason, HasSubstr("inbox \"billing\" has not come by"));
}

TEST(Health, HttpAnswersMeasureAndNameTheReason) {
    Metrics metrics;
    LaneMetrics &lane = metrics.lane(0);
    lane.enter(WorkState::running);
    lane.looked(false);
    lane.events = 7;
    HttpOptions options;
    options.listen = "127.0.0.1:0";
    const HttpServer server(options, metrics);
    httplib::Client client("127.0.0.1", server.port());
    EXPECT_EQ(client.Get("/readyz")->status, 200);
    EXPECT_EQ(client.Get("/healthz")->status, 200);
    EXPECT_EQ(client.Get("/nothing")->status, 404);
    const std::string text = client.Get("/metrics")->body;
    EXPECT_THAT(text, HasSubstr("once_outbox_events_total{lane=\"0\"} 7"));
    EXPECT_THAT(text, HasSubstr("once_outbox_state{lane=\"0\",state=\"running\"} 1"));
    lane.pending_since_ms = now_ms() - kStaleMs - 1;
    const auto stuck = client.Get("/readyz");
    EXPECT_EQ(stuck->status, 503);
    EXPECT_THAT(stuck->body, HasSubstr("lane 0 has work and committed none for 10 s"));
}

TEST(Health, ATakenPortIsRefused) {
    Metrics metrics;
    HttpOptions options;
    options.listen = "127.0.0.1:0";
    const HttpServer first(options, metrics);
    options.listen = "127.0.0.1:" + std::to_string(first.port());
    EXPECT_ANY_THROW(HttpServer(options, metrics));
}

TEST(Health, OnlyLoopbackUnlessAllowed) {
    HttpOptions options;
    for (const char *good : {"127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "localhost:1"}) {
        options.listen = good;
        EXPECT_NO_THROW(check_listen(options, "test")) << good;
    }
    for (const char *bad : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1", "::1:1", ":1",
                            "127.0.0.1", "127.0.0.1:", "127.0.0.1:x"}) {
        options.listen = bad;
        EXPECT_ANY_THROW(check_listen(options, "test")) << bad;
    }
    options.allow_remote = true;
    options.listen = "0.0.0.0:1";
    EXPECT_NO_THROW(check_listen(options, "test"));
}

TEST(Health, ProgressBarShowsPartAndRate) {
    EXPECT_EQ(ProgressBar::draw(500, 500, 2),
              "[###############               ]  50 %  500 of 1000, 250/s");
    EXPECT_THAT(ProgressBar::draw(0, 0, 0), HasSubstr("100 %  0 of 0"));
}

TEST(StopSignal, ASignalSetsTheFlagAndEndsASleep) {
    StopSignal stop;
    stop.listen_to_signals();
    EXPECT_FALSE(stop.wait_for(std::chrono::milliseconds(10)));
    std::thread sender([] { kill(getpid(), SIGTERM); });
    EXPECT_TRUE(stop.wait_for(std::chrono::seconds(10)));
    sender.join();
    EXPECT_TRUE(stop.requested());
    EXPECT_TRUE(stop.wait_for(std::chrono::hours(1))) << "returns at once when already requested";
    signal(SIGTERM, SIG_DFL);
}

} // namespace
} // namespace once
