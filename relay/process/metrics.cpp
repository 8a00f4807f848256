#include "relay/process/metrics.hpp"

#include <utility>

namespace once {

std::string_view to_string(WorkState state) {
    switch (state) {
    case WorkState::starting:
        return "starting";
    case WorkState::standby:
        return "standby";
    case WorkState::recovering:
        return "recovering";
    case WorkState::running:
        return "running";
    case WorkState::retrying:
        return "retrying";
    case WorkState::blocked:
        return "blocked";
    case WorkState::stopping:
        return "stopping";
    case WorkState::stopped:
        return "stopped";
    }
    return "unknown";
}

std::string_view to_string(TransactionOutcome outcome) {
    switch (outcome) {
    case TransactionOutcome::committed:
        return "committed";
    case TransactionOutcome::aborted:
        return "aborted";
    case TransactionOutcome::unknown:
        return "unknown";
    }
    return "unknown";
}

int TopicPartitions::note(const std::string &topic, int count) {
    const std::lock_guard lock(guard_);
    return std::exchange(counts_[topic], count);
}

std::map<std::string, int> TopicPartitions::all() const {
    const std::lock_guard lock(guard_);
    return counts_;
}

void Progress::looked(bool work) noexcept {
    const std::int64_t now = now_ms();
    looked_ms = now;
    if (!work)
        pending_since_ms = failed_attempts = 0;
    else if (pending_since_ms == 0)
        pending_since_ms = now;
}

void Progress::committed(bool more) noexcept {
    const std::int64_t now = now_ms();
    heartbeat_ms = now;
    committed_ms = now;
    pending_since_ms = more ? now : 0;
    failed_attempts = 0;
    ended(TransactionOutcome::committed);
}

LaneMetrics &Metrics::lane(int number) {
    const std::lock_guard lock(guard_);
    for (LaneMetrics &known : lane_list_)
        if (known.lane == number)
            return known;
    LaneMetrics &added = lane_list_.emplace_back(number);
    added.beat();
    return added;
}

InboxMetrics &Metrics::inbox(const std::string &consumer, const std::string &topic) {
    const std::lock_guard lock(guard_);
    int member = 0;
    for (const InboxMetrics &known : inbox_list_)
        member += known.consumer == consumer && known.topic == topic ? 1 : 0;
    InboxMetrics &added = inbox_list_.emplace_back(consumer, topic, member);
    added.beat();
    return added;
}

std::vector<const LaneMetrics *> Metrics::lanes() const {
    const std::lock_guard lock(guard_);
    std::vector<const LaneMetrics *> all;
    for (const LaneMetrics &known : lane_list_)
        all.push_back(&known);
    return all;
}

std::vector<const InboxMetrics *> Metrics::inboxes() const {
    const std::lock_guard lock(guard_);
    std::vector<const InboxMetrics *> all;
    for (const InboxMetrics &known : inbox_list_)
        all.push_back(&known);
    return all;
}

namespace {

std::string seconds(std::int64_t ms) {
    return std::to_string(ms / 1000) + " s";
}

Health alive_worker(const std::string &who, const Progress &worker, std::int64_t stale_ms) {
    if (worker.state == WorkState::stopped)
        return {false, who + " has ended"};
    const std::int64_t silent = worker.silent_ms();
    if (silent > stale_ms)
        return {false, who + " has not come by for " + seconds(silent)};
    return {};
}

// "Again, the same" looks like work in every single line of a log; the number tells it apart.
std::string attempts(const Progress &worker) {
    const std::int64_t failed = worker.failed_attempts;
    return failed == 0 ? "" : ", " + std::to_string(failed) + " failed attempts in a row";
}

// "Ready" is measured: an answer of the source and an acknowledged commit, never what the worker
// believes.
Health progressing_worker(const std::string &who, const Progress &worker, std::int64_t stale_ms) {
    const Health alive = alive_worker(who, worker, stale_ms);
    if (!alive.good)
        return alive;
    const WorkState state = worker.state;
    if (state == WorkState::standby)
        return {};
    if (state != WorkState::running)
        return {false, who + " is " + std::string(to_string(state)) + attempts(worker)};
    const std::int64_t now = now_ms();
    const std::int64_t unanswered = now - worker.looked_ms;
    const std::int64_t pending_since = worker.pending_since_ms;
    if (pending_since != 0 && now - pending_since > stale_ms)
        return {false, who + " has work and committed none for " + seconds(now - pending_since) +
                           attempts(worker)};
    if (pending_since == 0 && worker.looked_ms == 0)
        return {false, who + " has had no answer from its source yet"};
    if (pending_since == 0 && unanswered > stale_ms)
        return {false, who + " has had no answer from its source for " + seconds(unanswered)};
    return {};
}

std::string name_of(const LaneMetrics &lane) {
    return "lane " + std::to_string(lane.lane);
}
std::string name_of(const InboxMetrics &inbox) {
    return "inbox \"" + inbox.consumer + "\"";
}

template <typename Judge> Health judge_all(const Metrics &metrics, Judge judge) {
    bool any = false;
    for (const LaneMetrics *lane : metrics.lanes()) {
        any = true;
        if (Health health = judge(name_of(*lane), *lane); !health.good)
            return health;
    }
    for (const InboxMetrics *inbox : metrics.inboxes()) {
        any = true;
        if (Health health = judge(name_of(*inbox), *inbox); !health.good)
            return health;
    }
    return any ? Health{} : Health{false, "no worker has started"};
}

} // namespace

Health Metrics::alive(std::int64_t stale_ms) const {
    const Health health = judge_all(*this, [&](const std::string &who, const Progress &worker) {
        return alive_worker(who, worker, stale_ms);
    });
    // Nothing has started yet: alive, only not ready.
    return health.reason == "no worker has started" ? Health{} : health;
}

Health Metrics::progressing(std::int64_t stale_ms) const {
    return judge_all(*this, [&](const std::string &who, const Progress &worker) {
        return progressing_worker(who, worker, stale_ms);
    });
}

} // namespace once
