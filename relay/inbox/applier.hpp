// What is applied of the messages that were taken, and how: whole batches, halves of what was
// refused, the message to blame alone; then in place again, later by itself, or parked.
#pragma once

#include "relay/inbox/batch_limit.hpp"
#include "relay/inbox/inbox_database.hpp"
#include "relay/inbox/partition_leases.hpp"
#include "relay/inbox/retry_budget.hpp"
#include "relay/inbox/work.hpp"

#include <cstdint>
#include <string>

namespace once {
struct InboxMetrics;
struct InboxOptions;
} // namespace once

namespace once::inbox {

class Applier {
  public:
    Applier(const InboxOptions &options, InboxDatabase &database, PartitionLeases &leases,
            InboxMetrics &metrics, std::int64_t max_poll_interval_ms);

    // Behind what is being tried.
    void add(Message message, std::string_view name);
    void drop(const TopicPartitionView &place);
    void clear() { work_.clear(); }
    void sweep() { work_.sweep(); }

    bool empty() const { return work_.empty(); }
    bool tried() const { return work_.tried(); }
    bool full() const { return is_full(work_.in_hand()); }
    bool next_full() const { return is_full(work_.next()); }

    // What came of an attempt: it got on, or the same is tried again after a pause.
    struct Attempt {
        bool again = false;
        std::string why;
    };
    // The current part. Throws Refusal, SqlError (ours), SessionLost.
    Attempt apply_current(bool stopping);

    // Messages of other partitions or owners are tried next.
    void assignment_changed() { attempts_ = conflicts_ = 0; }
    // The group gave us up in the middle of a batch, or the connection was lost there.
    void did_not_end(const std::string &why);
    // When a message that was put aside is due (now_ms()), 0 = none since the last call.
    std::int64_t take_retry_at_ms();

  private:
    bool is_full(const Batch &batch) const;
    void settle(const Applied &applied);
    Attempt on_refused(const MessageRefused &refused, bool stopping);
    bool part_has_no_id(const Part &part);
    void put_aside(const std::string &error, const std::vector<int> &pauses);
    void measured(std::size_t rows, std::int64_t ms);

    const InboxOptions &options_;
    InboxDatabase &database_;
    PartitionLeases &leases_;
    InboxMetrics &metrics_;
    Work work_;
    BatchLimit limit_;
    RetryBudget budget_;
    int attempts_ = 0;  // at the current message alone
    int conflicts_ = 0; // at the current part: deadlocks and the like
    bool limit_told_ = false;
    std::int64_t retry_at_ms_ = 0;
};

} // namespace once::inbox
