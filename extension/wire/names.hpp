// What may be called what. Topic names are Kafka's rule: a name the broker would refuse must not be
// stored, because only publish can still tell the application.
#pragma once

#include <cstddef>
#include <string_view>

namespace once::wire {

inline constexpr size_t kMaxTopicBytes = 249;
// Kafka takes any key; ours must fit an index entry of dead_letter together with the topic (2,704
// bytes).
inline constexpr size_t kMaxKeyBytes = 2000;

[[nodiscard]] inline bool valid_topic(std::string_view name) {
    if (name.empty() || name.size() > kMaxTopicBytes || name == "." || name == "..")
        return false;
    for (char c : name) {
        const bool legal = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
        if (!legal)
            return false;
    }
    return true;
}

// Kafka's own, which no broker takes from a client, and the relay's positions by their usual name:
// a record there speaks for a lane, ours or another database's. An event for one of them could
// never be shipped.
[[nodiscard]] inline bool reserved_topic(std::string_view name) {
    return name == "once.positions" || name == "__consumer_offsets" ||
           name == "__transaction_state" || name == "__share_group_state" ||
           name == "__cluster_metadata";
}

} // namespace once::wire
