// A partition that the group gave to this member, and how far it is. The group's assignment alone
// gives no right to read: that is the lease, a fence number and an offset out of the database.
#pragma once

#include "relay/inbox/topic_partition.hpp"
#include "relay/process/backoff.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace once::inbox {

struct PartitionLease {
    bool held = false;            // the database has given the fence below
    std::int64_t since_ms = 0;    // held since
    std::int64_t claim_at_ms = 0; // not held: try (again) then
    // Longer than a heartbeat: who lost the partition for good hears of it before he claims again.
    Backoff claim_backoff{std::chrono::milliseconds(3000), std::chrono::milliseconds(10000)};
    std::int64_t fence = 0;
    std::string topic_id;     // that the offsets count in; empty: not known
    std::string name;         // what stands for the topic in the ids of messages that have none
    std::int64_t next = 0;    // first offset whose effect is not committed in the database
    std::int64_t read = 0;    // first offset not yet taken from Kafka
    std::int64_t reached = 0; // the end that Kafka told last: markers stand behind the last message
    std::int64_t told = -1;   // committed to Kafka, for lag tools
    bool out_of_range = false;         // `read` does not exist in Kafka
    std::optional<std::int64_t> until; // --until-empty: done when read or reached gets there
    std::set<std::string> held_keys;   // keys of parked messages: what follows is parked too

    // Nothing below needs to be applied any more: where all that was read is applied, what stands
    // between the last message and the end are markers and aborted records.
    std::int64_t done_to() const { return next == read ? std::max(next, reached) : next; }
};

using Assignment = std::map<TopicPartition, PartitionLease, TopicPartitionOrder>;

} // namespace once::inbox
