// The plain counters in Prometheus' words. Only prometheus-cpp's data types and serializer are
// used: no registry, since the numbers already live in Metrics.
#include "relay/process/prometheus.hpp"

#include "relay/process/process_usage.hpp"

#include <sstream>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

namespace once {

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

constexpr WorkState kStates[] = {WorkState::starting, WorkState::standby,  WorkState::recovering,
                                 WorkState::running,  WorkState::retrying, WorkState::blocked,
                                 WorkState::stopping, WorkState::stopped};

ClientMetric counter(Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.counter.value = value;
    return metric;
}

ClientMetric gauge(Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.gauge.value = value;
    return metric;
}

ClientMetric histogram(Labels labels, const Histogram &source) {
    ClientMetric metric;
    metric.label = std::move(labels);
    std::uint64_t so_far = 0;
    for (std::size_t i = 0; i < source.bounds().size(); ++i) {
        so_far += source.count(i);
        metric.histogram.bucket.push_back({so_far, source.bounds()[i]});
    }
    so_far += source.count(source.bounds().size());
    metric.histogram.bucket.push_back({so_far, std::numeric_limits<double>::infinity()});
    metric.histogram.sample_count = so_far;
    metric.histogram.sample_sum = source.sum();
    return metric;
}

double seconds_since(std::int64_t when_ms) {
    return static_cast<double>(now_ms() - when_ms) / 1000.0;
}

// Seconds since 1970 of a moment of the steady clock.
double unix_seconds(std::int64_t when_ms) {
    using namespace std::chrono;
    const auto now = duration<double>(system_clock::now().time_since_epoch()).count();
    return now - seconds_since(when_ms);
}

// Age of the oldest work not committed: nothing waits, nothing lags.
double lag_seconds(const LaneMetrics &lane) {
    const std::int64_t pending_since = lane.pending_since_ms;
    if (pending_since == 0)
        return 0;
    return std::max(static_cast<double>(lane.lag_us) / 1e6, seconds_since(pending_since));
}

// One family per number: `value` reads it from each worker.
template <typename Worker> class Families {
  public:
    using Name = Labels (*)(const Worker &);
    using Value = double (*)(const Worker &);

    Families(std::vector<const Worker *> all, Name labels_of, std::vector<MetricFamily> &target)
        : workers_(std::move(all)), labels_(labels_of), out_(target) {}

    void add(const char *name, const char *help, MetricType type, Value value) {
        MetricFamily family{name, help, type, {}};
        for (const Worker *worker : workers_)
            family.metric.push_back(type == MetricType::Counter
                                        ? counter(labels_(*worker), value(*worker))
                                        : gauge(labels_(*worker), value(*worker)));
        out_.push_back(std::move(family));
    }

    void add(const char *name, const char *help, const Histogram Worker::*source) {
        MetricFamily family{name, help, MetricType::Histogram, {}};
        for (const Worker *worker : workers_)
            family.metric.push_back(histogram(labels_(*worker), worker->*source));
        out_.push_back(std::move(family));
    }

    void add_progress(const std::string &prefix) {
        MetricFamily outcomes{
            prefix + "_transactions_total", "Transactions by outcome", MetricType::Counter, {}};
        MetricFamily states{
            prefix + "_state", "1 for the state the worker is in", MetricType::Gauge, {}};
        MetricFamily commits{prefix + "_last_commit_timestamp_seconds",
                             "When the last commit was acknowledged; absent before the first",
                             MetricType::Gauge,
                             {}};
        MetricFamily attempts{prefix + "_failed_attempts",
                              "Failed in a row without a commit between them, 0 when it gets on",
                              MetricType::Gauge,
                              {}};
        for (const Worker *worker : workers_) {
            attempts.metric.push_back(
                gauge(labels_(*worker), static_cast<double>(worker->failed_attempts)));
            for (std::size_t i = 0; i < kTransactionOutcomes; ++i)
                outcomes.metric.push_back(
                    counter(with(*worker, "outcome", to_string(static_cast<TransactionOutcome>(i))),
                            static_cast<double>(worker->transactions[i])));
            for (const WorkState state : kStates)
                states.metric.push_back(
                    gauge(with(*worker, "state", to_string(state)), worker->state == state));
            if (const std::int64_t committed = worker->committed_ms)
                commits.metric.push_back(gauge(labels_(*worker), unix_seconds(committed)));
        }
        out_.push_back(std::move(outcomes));
        out_.push_back(std::move(states));
        out_.push_back(std::move(commits));
        out_.push_back(std::move(attempts));
    }

  private:
    Labels with(const Worker &worker, const char *name, std::string_view value) const {
        Labels all = labels_(worker);
        all.push_back({name, std::string(value)});
        return all;
    }

    std::vector<const Worker *> workers_;
    Name labels_;
    std::vector<MetricFamily> &out_;
};

#define READ(member) [](const auto &worker) { return static_cast<double>(worker.member); }

void add_outbox(const Metrics &metrics, std::vector<MetricFamily> &out) {
    Families<LaneMetrics> lanes(
        metrics.lanes(),
        [](const LaneMetrics &lane) {
            return Labels{{"lane", std::to_string(lane.lane)}};
        },
        out);
    constexpr auto total = MetricType::Counter, now = MetricType::Gauge;
    lanes.add("once_outbox_events_total", "Events in committed transactions", total, READ(events));
    lanes.add("once_outbox_bytes_total", "Bytes of those events", total, READ(bytes));
    lanes.add("once_outbox_producer_recycles_total", "New producers after an irregular end", total,
              READ(producer_recycles));
    lanes.add("once_outbox_parked_total", "Events put into once.dead_letter", total, READ(parked));
    lanes.add("once_outbox_redriven_total", "Parked events shipped later", total, READ(redriven));
    lanes.add("once_outbox_trimmed_total", "Child tables truncated", total, READ(trimmed));
    lanes.add("once_outbox_position", "Counter of the last committed position", now,
              READ(position));
    lanes.add("once_outbox_backlog_events", "Committed events not shipped (estimate)", now,
              [](const LaneMetrics &lane) { return static_cast<double>(lane.backlog_events()); });
    lanes.add("once_outbox_lag_seconds", "Age of the oldest event not shipped, 0 when none waits",
              now, lag_seconds);
    lanes.add("once_outbox_keys_held", "Keys held behind a parked event", now, READ(keys_held));
    lanes.add("once_outbox_commit_seconds", "From the first message to the acknowledged commit",
              &LaneMetrics::commit_seconds);
    lanes.add("once_outbox_publish_to_commit_seconds",
              "Age of the oldest event of a Kafka transaction when its commit was acknowledged",
              &LaneMetrics::age_seconds);
    lanes.add("once_outbox_transaction_events", "Events in a Kafka transaction",
              &LaneMetrics::transaction_events);
    lanes.add_progress("once_outbox");
}

void add_inbox(const Metrics &metrics, std::vector<MetricFamily> &out) {
    const auto workers = metrics.inboxes();
    if (workers.empty())
        return;
    Families<InboxMetrics> inboxes(
        workers,
        [](const InboxMetrics &inbox) {
            return Labels{{"consumer", inbox.consumer},
                          {"topic", inbox.topic},
                          {"member", std::to_string(inbox.member)}};
        },
        out);
    constexpr auto total = MetricType::Counter, now = MetricType::Gauge;
    inboxes.add("once_inbox_messages_total", "Messages applied", total, READ(messages));
    inboxes.add("once_inbox_bytes_total", "Bytes of those messages", total, READ(bytes));
    inboxes.add("once_inbox_duplicates_total", "Messages seen before", total, READ(duplicates));
    inboxes.add("once_inbox_too_old_total", "Messages older than the memory", total, READ(too_old));
    inboxes.add("once_inbox_parked_total", "Messages parked with their error", total, READ(parked));
    inboxes.add("once_inbox_retries_later_total",
                "Messages put aside and tried again by themselves", total, READ(retries_later));
    inboxes.add("once_inbox_without_id_total", "Messages without the id that was asked for", total,
                READ(without_id));
    inboxes.add("once_inbox_fenced_total", "Transactions refused by a newer fence", total,
                READ(fenced));
    inboxes.add("once_inbox_rebalances_total", "Assignments changed", total, READ(rebalances));
    inboxes.add("once_inbox_lag_messages", "Messages in the topic not applied", now,
                READ(lag_messages));
    inboxes.add("once_inbox_partitions", "Partitions assigned now", now, READ(partitions));
    inboxes.add("once_inbox_transaction_seconds",
                "From the begin of a batch's database transaction to its commit, the handler in it",
                &InboxMetrics::transaction_seconds);
    inboxes.add_progress("once_inbox");
}

void add_process(std::vector<MetricFamily> &out) {
    const ProcessUsage usage = process_usage();
    const auto one = [&](const char *name, const char *help, MetricType type, double value) {
        out.push_back({name,
                       help,
                       type,
                       {type == MetricType::Counter ? counter({}, value) : gauge({}, value)}});
    };
    constexpr auto total = MetricType::Counter, now = MetricType::Gauge;
    out.push_back({"once_relay_build_info",
                   "1; the labels tell the version of this program",
                   now,
                   {gauge({{"version", ONCE_VERSION}}, 1)}});
    one("process_cpu_seconds_total", "User and system CPU time", total, usage.cpu_seconds);
    one("process_start_time_seconds", "Start of the process since 1970", now, usage.start_time);
    one("process_resident_memory_bytes", "Resident memory", now, usage.resident_bytes);
    one("process_virtual_memory_bytes", "Virtual memory", now, usage.virtual_bytes);
    one("process_open_fds", "Open file descriptors", now, usage.open_fds);
    one("process_max_fds", "Soft limit of open file descriptors", now, usage.max_fds);
    one("process_threads", "Threads", now, usage.threads);
}

// OpenMetrics names the family of a counter without its suffix, and ends with a line that tells a
// whole answer from a cut one.
std::string as_openmetrics(const std::string &text) {
    std::string out;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        constexpr std::string_view kTotal = "_total";
        if (line.starts_with("# HELP ") || line.starts_with("# TYPE ")) {
            const std::size_t end = std::min(line.find(' ', 7), line.size());
            if (std::string_view(line).substr(0, end).ends_with(kTotal))
                line.erase(end - kTotal.size(), kTotal.size());
        }
        out += line + "\n";
    }
    return out + "# EOF\n";
}

} // namespace

std::string prometheus_text(const Metrics &metrics, MetricsFormat format) {
    std::vector<MetricFamily> families;
    add_process(families);
    add_outbox(metrics, families);
    add_inbox(metrics, families);
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, families);
    return format == MetricsFormat::openmetrics ? as_openmetrics(text.str()) : text.str();
}

MetricsFormat metrics_format(std::string_view request) {
    return request.find("application/openmetrics-text") != std::string_view::npos
               ? MetricsFormat::openmetrics
               : MetricsFormat::prometheus;
}

const char *content_type(MetricsFormat format) {
    return format == MetricsFormat::openmetrics
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

} // namespace once
