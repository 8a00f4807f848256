// The plain counters in Prometheus' words. Only prometheus-cpp's data types and serializer are
// used: no registry, since the numbers already live in Metrics.
#include "relay/process/http.hpp"

#include <sstream>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

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

double seconds_since(std::int64_t when_ms) {
    return when_ms == 0 ? -1.0 : static_cast<double>(now_ms() - when_ms) / 1000.0;
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

    void add_progress(const std::string &prefix) {
        MetricFamily outcomes{
            prefix + "_transactions_total", "Transactions by outcome", MetricType::Counter, {}};
        MetricFamily states{
            prefix + "_state", "1 for the state the worker is in", MetricType::Gauge, {}};
        MetricFamily commits{prefix + "_last_commit_age_seconds",
                             "Since the last acknowledged commit, -1 before the first",
                             MetricType::Gauge,
                             {}};
        for (const Worker *worker : workers_) {
            for (std::size_t i = 0; i < kTransactionOutcomes; ++i)
                outcomes.metric.push_back(
                    counter(with(*worker, "outcome", to_string(static_cast<TransactionOutcome>(i))),
                            static_cast<double>(worker->transactions[i])));
            for (const WorkState state : kStates)
                states.metric.push_back(
                    gauge(with(*worker, "state", to_string(state)), worker->state == state));
            commits.metric.push_back(gauge(labels_(*worker), seconds_since(worker->committed_ms)));
        }
        out_.push_back(std::move(outcomes));
        out_.push_back(std::move(states));
        out_.push_back(std::move(commits));
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
    inboxes.add("once_inbox_fenced_total", "Transactions refused by a newer fence", total,
                READ(fenced));
    inboxes.add("once_inbox_rebalances_total", "Assignments changed", total, READ(rebalances));
    inboxes.add("once_inbox_lag_messages", "Messages in the topic not applied", now,
                READ(lag_messages));
    inboxes.add("once_inbox_partitions", "Partitions assigned now", now, READ(partitions));
    inboxes.add_progress("once_inbox");
}

double resident_bytes() {
    long pages = 0, resident = 0;
    if (std::FILE *file = std::fopen("/proc/self/statm", "r")) {
        if (std::fscanf(file, "%ld %ld", &pages, &resident) != 2)
            resident = 0;
        std::fclose(file);
    }
    return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

} // namespace

std::string prometheus_text(const Metrics &metrics) {
    std::vector<MetricFamily> families;
    families.push_back({"once_relay_info",
                        "Version of this program",
                        MetricType::Gauge,
                        {gauge({{"version", ONCE_VERSION}}, 1)}});
    families.push_back({"process_resident_memory_bytes",
                        "Resident memory",
                        MetricType::Gauge,
                        {gauge({}, resident_bytes())}});
    add_outbox(metrics, families);
    add_inbox(metrics, families);
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, families);
    return text.str();
}

} // namespace once
