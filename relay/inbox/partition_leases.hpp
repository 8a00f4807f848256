// Which partitions this member may read, from where, and how far each is. The group assigns; the
// database gives the lease: a fence above all earlier ones and the offset to go on from. A
// partition that cannot be had now is asked for again later, the others flow meanwhile.
#pragma once

#include "relay/inbox/inbox_database.hpp"

#include <functional>
#include <string>
#include <vector>

namespace once {
struct InboxOptions;
}

namespace once::inbox {

class PartitionLeases {
  public:
    // What was read of the partition is read again, or is somebody else's.
    using Dropped = std::function<void(const TopicPartitionView &)>;
    PartitionLeases(const InboxOptions &options, InboxDatabase &database, bool until_empty,
                    Dropped dropped);

    // The group's word.
    void assigned(const std::vector<TopicPartition> &places);
    void revoked(const std::vector<TopicPartition> &places);
    // Everything is claimed again, at once: only the database knows how far it got.
    void session_lost();
    // The database does not take our word any more: claimed again after a while.
    void lose_all(const std::string &why);
    void lose(const TopicPartition &place, const std::string &why);

    // Claims every partition whose turn it is and lets it be read from what the database says.
    // True: `assign` was called. Throws Refusal, SqlError, SessionLost, KafkaUnavailable.
    bool claim_due(GroupConsumer &consumer);
    // Compares the ids of the topics with those that the leases count in.
    void look_at_topics(GroupConsumer &consumer);
    // The same, not more often than every few seconds, while a broker answers.
    void look_at_topics_when_due(GroupConsumer &consumer);
    void look_at_topics_soon() { topics_at_ms_ = 0; }
    // Offsets that Kafka does not have any more. Throws like claim_due.
    void resolve_out_of_range(GroupConsumer &consumer);

    // A message is taken from Kafka: whether it counts, and what stands for its topic.
    struct Taken {
        bool counts = false;
        std::string_view name;
    };
    Taken take(const Message &message);
    void reached_end(const TopicPartition &place, std::int64_t offset);
    void met_out_of_range(const TopicPartition &place);
    void applied(const Offsets &next);
    void hold_key(const TopicPartition &place, std::string key);
    void refresh_held_keys();

    // Where the partitions are to be read from, those that are leased.
    Offsets positions() const;
    // What is new for lag tools since the last call.
    Offsets offsets_to_commit();
    std::vector<TopicPartition> places() const;
    const Assignment &all() const { return assignment_; }
    bool all_held() const;
    bool any_held_key() const;
    // The last time that a lease was given (now_ms()).
    std::int64_t leased_ms() const { return leased_ms_; }
    std::int64_t lag(const GroupConsumer &consumer) const;
    std::int64_t held_count() const;
    // --until-empty: everything that was there at the start is read.
    bool drained() const;

  private:
    void begin_reading(GroupConsumer &consumer, const std::vector<LeaseGrant> &grants);
    std::int64_t first_offset(GroupConsumer &consumer, const LeaseGrant &grant,
                              const Committed &committed);
    void refuse_foreign(const TopicPartition &place, const Committed &committed) const;
    void resolve(GroupConsumer &consumer, const TopicPartition &place, PartitionLease &lease);

    const InboxOptions &options_;
    InboxDatabase &database_;
    const bool until_empty_;
    const Dropped dropped_;
    Assignment assignment_;
    std::int64_t topics_at_ms_ = 0;
    std::int64_t leased_ms_ = 0;
};

} // namespace once::inbox
