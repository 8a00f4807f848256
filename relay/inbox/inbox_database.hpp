// The receiving database as the inbox sees it: each function is one transaction, or one step
// outside of any. SQL stands behind it (receiver.hpp), or a fake (test/unit/fake_group.hpp).
#pragma once

#include "relay/inbox/batch.hpp"
#include "relay/inbox/database_errors.hpp"
#include "relay/inbox/group_consumer.hpp"
#include "relay/inbox/partition_lease.hpp"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace once::inbox {

// What the database answers to a claim.
struct LeaseGrant {
    TopicPartition place;
    std::int64_t fence = 0;
    std::optional<std::int64_t> next; // nothing: the group is new to the database
    std::string topic_id;             // as it was asked for; empty: not known
    std::string name; // what stands for the topic in the ids of messages that have none
};

struct Applied {
    std::vector<TopicPartition> fenced; // somebody else claimed them: nothing of theirs was applied
    Offsets next;
    std::uint64_t fresh = 0, duplicates = 0, too_old = 0, parked = 0, bytes = 0;
};

// A message that is put aside: with its error, and when it is tried again.
struct PutAside {
    std::string error;
    int attempts = 1;
    std::optional<std::int64_t> retry_in_s; // nothing: when somebody sets it free
};

class InboxDatabase {
  public:
    virtual ~InboxDatabase() = default;

    // A session, and the extension's protocol, a writable server, the handler. Throws Refusal,
    // SessionLost.
    virtual void connect() = 0;
    virtual void disconnect() = 0;
    virtual bool connected() const = 0;
    // Leaves a transaction that failed.
    virtual void rollback() = 0;

    // The same checks again, before a message is given up. Throws Refusal.
    virtual void check() = 0;
    // Which database this is, for other members of the group: it is the same for both or one of
    // them reads what the other should have had.
    virtual std::string identity() = 0;

    // Without places that cannot be had now (a member is still at work in them, or Kafka told an
    // id of a topic that another one has followed): they are to be claimed again.
    virtual std::vector<LeaseGrant> claim(const std::vector<TopicPartition> &places,
                                          const TopicIds &ids) = 0;
    // Stores where the group begins the topic, all of its partitions at once, unless it has begun
    // it before. Where that makes this one begin: at 0 if it was added since. Nothing: the topic is
    // new to the group, and `offsets` does not have it.
    virtual std::optional<std::int64_t> begin(const TopicPartition &place,
                                              const Offsets &offsets) = 0;
    // Moves a partition on without applying what is between; false = fenced.
    [[nodiscard]] virtual bool skip_to(const TopicPartition &place, const PartitionLease &lease,
                                       std::int64_t offset) = 0;

    // {fence, dedup, effect, offset} of one part in one transaction. Messages of held keys are put
    // behind the message that holds them. Throws MessageRefused, SqlError (ours), SessionLost.
    virtual Applied apply(const Part &part, const Assignment &assignment) = 0;
    // Keeps one message with its error and passes over it.
    virtual Applied park(const Entry &entry, const Assignment &assignment,
                         const PutAside &aside) = 0;

    virtual std::set<std::string> held_keys(const TopicPartition &place) = 0;
    // Runs the handler for one message in once.inbox that may be taken: its time has come, an
    // operator set it free (once.inbox_redrive), or what it waited for is done. Nothing there:
    // nullopt; else whether the handler took it.
    virtual std::optional<bool> redrive_one() = 0;
};

} // namespace once::inbox
