// What the relay counts, as plain atomics: outbox/ and inbox/ write here, http.cpp and the progress
// bar read. No prometheus type is seen by those who count. Times are milliseconds of the steady
// clock (now_ms()), 0 = never.
#pragma once

#include "relay/process/histogram.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace once {

inline std::int64_t now_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

// What a worker is doing. `blocked`: the lane cannot go on until somebody repairs something (topic
// missing, not authorised); it goes on trying. `retrying`: a server is away.
enum class WorkState {
    starting,
    standby,
    recovering,
    running,
    retrying,
    blocked,
    stopping,
    stopped
};
enum class TransactionOutcome { committed, aborted, unknown };
inline constexpr std::size_t kTransactionOutcomes = 3;

std::string_view to_string(WorkState state);
std::string_view to_string(TransactionOutcome outcome);

using Counter = std::atomic<std::uint64_t>;

// Common to an outbox lane and an inbox member: is it alive, is it getting on?
struct Progress {
    std::atomic<WorkState> state{WorkState::starting};
    std::atomic<std::int64_t> heartbeat_ms{0};   // the thread came by here
    std::atomic<std::int64_t> waits_until_ms{0}; // it said that it waits, and how long at most
    std::atomic<std::int64_t> looked_ms{0};      // the source last answered (with or without work)
    std::atomic<std::int64_t> pending_since_ms{0}; // there is work since; 0 = none known
    std::atomic<std::int64_t> committed_ms{0};     // last acknowledged commit
    // Failed in a row: no commit between them, and no answer of the source that nothing is left.
    std::atomic<std::int64_t> failed_attempts{0};
    std::array<Counter, kTransactionOutcomes> transactions{};

    // Every loop of the thread that does the work, at least every 5 s; nobody else's: a sign of
    // life of another thread says nothing of it.
    void beat() noexcept { heartbeat_ms = now_ms(); }
    // How long nobody has heard of it and it has not said that it waits; 0 or less: it is alive.
    std::int64_t silent_ms() const noexcept {
        return now_ms() - std::max(heartbeat_ms.load(), waits_until_ms.load());
    }
    // After every answer of the source: the only proof that "no work" is true.
    void looked(bool work) noexcept;
    // After an acknowledged commit only; `more` = work is left.
    void committed(bool more) noexcept;
    // Whatever was tried did not get through and is tried again. Returns which one in a row it was.
    std::int64_t failed() noexcept { return ++failed_attempts; }
    void ended(TransactionOutcome outcome) noexcept {
        transactions[static_cast<std::size_t>(outcome)].fetch_add(1, std::memory_order_relaxed);
    }
    void enter(WorkState next) noexcept {
        state = next;
        beat();
    }
};

// A wait that ends by itself after `limit`, declared: it is no reason to think its thread dead.
class BoundedWait {
  public:
    BoundedWait(Progress &progress, std::chrono::milliseconds limit) noexcept
        : progress_(progress) {
        progress_.waits_until_ms = now_ms() + limit.count();
    }
    ~BoundedWait() {
        progress_.waits_until_ms = 0;
        progress_.beat();
    }
    BoundedWait(const BoundedWait &) = delete;
    BoundedWait &operator=(const BoundedWait &) = delete;

  private:
    Progress &progress_;
};

// How many partitions each topic had when it was last asked for; a key moves when that changes.
class TopicPartitions {
  public:
    // The count known before, 0 if none.
    int note(const std::string &topic, int count);
    std::map<std::string, int> all() const;

  private:
    mutable std::mutex guard_;
    std::map<std::string, int> counts_;
};

struct LaneMetrics : Progress {
    explicit LaneMetrics(int number) : lane(number) {}

    const int lane;
    Counter events{0};            // in committed transactions, main path and redrive
    Counter bytes{0};             // key + payload + headers of those
    Counter producer_recycles{0}; // new producer instances after an irregular end
    Counter parked{0};            // entries put into once.dead_letter
    Counter redriven{0};
    Counter trimmed{0};                    // child tables truncated
    std::atomic<std::int64_t> position{0}; // counter of the last committed position
    std::atomic<std::int64_t> in_hand{0};  // events read and not known to be committed
    std::atomic<std::int64_t> behind{0};   // events behind those in the tables; estimate
    std::atomic<std::int64_t> lag_us{
        0}; // publish → acknowledged commit of the oldest event of the last batch
    std::atomic<std::int64_t> keys_held{0};
    Histogram commit_seconds{kSecondsBounds}; // first message → acknowledged commit
    Histogram age_seconds{kSecondsBounds};    // publish → acknowledged commit, oldest event
    Histogram transaction_events{kEventsBounds};
    Counter unexpected_causes{0}; // of a change of state that the table does not have
    TopicPartitions partitions;

    // Committed in the database, not in Kafka; an estimate.
    std::int64_t backlog_events() const noexcept { return in_hand + behind; }
    void read(std::int64_t events, std::int64_t left) noexcept {
        in_hand += events;
        behind = left;
        looked(backlog_events() > 0);
    }
    // Of `events` that were read, shipped or put aside.
    void passed(std::int64_t events) noexcept {
        in_hand -= events;
        committed(backlog_events() > 0);
    }
    // What was read is read again.
    void read_again() noexcept { in_hand = behind = 0; }
};

struct InboxMetrics : Progress {
    InboxMetrics(std::string name, std::string topics, int number)
        : consumer(std::move(name)), topic(std::move(topics)), member(number) {}

    const std::string consumer;
    const std::string topic;
    const int member;    // of those with the same consumer and topic, from 0
    Counter messages{0}; // new and applied
    Counter bytes{0};
    Counter duplicates{0};
    Counter too_old{0};
    Counter parked{0};
    Counter retries_later{0}; // put aside, tried again by themselves
    Counter without_id{0};    // the id that was asked for is not there
    Counter fenced{0};
    Counter rebalances{0};
    std::atomic<std::int64_t> lag_messages{0};
    std::atomic<std::int64_t> partitions{0};       // assigned now
    Histogram transaction_seconds{kSecondsBounds}; // a batch's transaction, its policy included

    // From here to the end of the scope is one transaction.
    struct Timed {
        InboxMetrics &metrics;
        std::int64_t begun_ms = now_ms();
        ~Timed() {
            metrics.transaction_seconds.observe(static_cast<double>(now_ms() - begun_ms) / 1000);
        }
    };
};

// Is it alive, is it ready, and the reason in words when it is not.
struct Health {
    bool good = true;
    std::string reason;
};

class Metrics {
  public:
    // Made once per worker at its start; the reference stays valid as long as Metrics lives.
    LaneMetrics &lane(int number);
    // A new one at each call: every member of the group has its own.
    InboxMetrics &inbox(const std::string &consumer, const std::string &topic);

    std::vector<const LaneMetrics *> lanes() const;
    std::vector<const InboxMetrics *> inboxes() const;

    // Every worker came by within `stale_ms`.
    Health alive(std::int64_t stale_ms) const;
    // Every worker: source answered within `stale_ms`, and no work has been waiting for longer than
    // that without a commit. A standby is ready: it does all it can, and its place in a pool is
    // wanted.
    Health progressing(std::int64_t stale_ms) const;

  private:
    mutable std::mutex guard_;
    std::list<LaneMetrics> lane_list_;
    std::list<InboxMetrics> inbox_list_;
};

} // namespace once
