// The partitions the group gave to this member, and how far each one is.
#pragma once

#include "relay/process/backoff.hpp"
#include "relay/inbox/topic_partition.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace once::inbox {

struct Partition {
    bool claimed = false;
    std::int64_t claim_at_ms = 0; // not claimed: try (again) then
    // Longer than a heartbeat: who lost the partition for good hears of it before he claims again.
    Backoff claim_backoff{std::chrono::milliseconds(3000), std::chrono::milliseconds(10000)};
    std::int64_t fence = 0;
    std::string topic_id;     // that the offsets count in; empty: not known
    std::string name;         // what stands for the topic in the ids of messages that have none
    std::int64_t next = 0;    // first offset whose effect is not committed in the database
    std::int64_t read = 0;    // first offset not yet taken from Kafka
    std::int64_t reached = 0; // the end that Kafka told last: markers stand behind the last message
    std::int64_t advised = -1;
    bool out_of_range = false;         // `read` does not exist in Kafka
    std::optional<std::int64_t> until; // --until-empty: done when read or reached gets there
    std::set<std::string> held_keys;   // keys of parked messages: what follows is parked too
};

using Assignment = std::map<TopicPartition, Partition, PlaceOrder>;

} // namespace once::inbox
