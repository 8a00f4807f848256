// The receiving side in SQL: every statement of the inbox stands here. Each public function is one
// transaction, or one step outside of any.
#pragma once

#include "relay/inbox/assignment.hpp"
#include "relay/inbox/batch.hpp"
#include "relay/inbox/session.hpp"
#include "relay/kafka/compat.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace once {
struct InboxOptions;
}

namespace once::inbox {

// The message is to blame, or what the handler made of it: the same again will be refused again.
// Thrown with the transaction rolled back.
struct MessageRefused : SqlError {
    using SqlError::SqlError;
};

struct Claim {
    TopicPartition place;
    std::int64_t fence = 0;
    std::optional<std::int64_t> next; // nothing: the group is new to the database
    std::string topic_id;             // as it was asked for; empty: not known
    std::string name; // what stands for the topic in the ids of messages that have none
};

struct Applied {
    std::vector<TopicPartition> fenced; // somebody else claimed them: nothing of theirs was applied
    std::map<TopicPartition, std::int64_t, PlaceOrder> next;
    std::uint64_t fresh = 0, duplicates = 0, too_old = 0, parked = 0, bytes = 0;
};

class Receiver {
  public:
    Receiver(Session &session, const InboxOptions &options);

    // Before anything is read, and before a message is given up: the extension's protocol, a
    // writable server, the handler and its signature. Throws Refusal.
    void check();
    // Which database this is, for other members of the group: it is the same for both or one of
    // them reads what the other should have had.
    std::string database_identity();

    // Without places whose topic id is of a topic that another one has followed: Kafka told it too
    // late, they are to be claimed again.
    std::vector<Claim> claim(const std::vector<TopicPartition> &places, const kafka::TopicIds &ids);
    // Stores where the group begins the topic, all of its partitions at once, unless it has begun
    // it before. Where that makes this one begin: at 0 if it was added since. Nothing: the topic is
    // new to the group, and `offsets` does not have it.
    std::optional<std::int64_t>
    begin(const TopicPartition &place,
          const std::map<TopicPartition, std::int64_t, PlaceOrder> &offsets);
    // Moves a partition on without applying what is between; false = fenced.
    [[nodiscard]] bool skip_to(const TopicPartition &place, const Partition &partition,
                               std::int64_t offset);

    // {fence, dedup, effect, offset} of one part in one transaction. Messages of held keys are put
    // behind the message that holds them. Throws MessageRefused, SqlError (ours), SessionLost.
    Applied apply(const Part &part, const Assignment &assignment);
    // Keeps one message with its error and passes over it.
    Applied park(const Entry &entry, const Assignment &assignment, const std::string &error);

    std::set<std::string> held_keys(const TopicPartition &place);
    // Runs the handler for one message in once.inbox that may be taken: an operator set it free
    // (once.inbox_redrive), or what it waited for is done. Nothing there: nullopt; else whether the
    // handler took it.
    std::optional<bool> redrive_one();

  private:
    // What of a part is still to be done, in its order.
    using Left = std::vector<const Entry *>;

    Left pass_fence(std::span<const Entry> part, const Assignment &assignment, Applied &applied);
    void drop_known(Left &left, IdColumns *encoded, Applied &applied);
    void set_aside_held(Left &left, const Assignment &assignment, Applied &applied);
    void call_handler(MessageColumns &columns);
    void store(MessageColumns &columns, std::size_t count, Applied &applied);
    bool put_aside(const Entry &entry, const std::optional<std::string> &error);
    std::string redrive_error(const std::string &id);
    std::string handler_signature() const;

    Session &session_;
    const InboxOptions &options_;
    std::string handler_; // as the catalog quotes it
};

} // namespace once::inbox
