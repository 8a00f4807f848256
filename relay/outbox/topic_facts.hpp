// What is known of a topic that messages go to, and what follows for an event. Pure.
#pragma once

#include "relay/outbox/event.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace once::outbox {

struct TopicFacts {
    int partitions = 0; // 0: not known
    // Of a request's batch, so of a message that goes alone; none: the brokers did not say.
    std::optional<std::int64_t> max_message_bytes;
    bool compacted = false;

    bool settings_known() const { return max_message_bytes.has_value(); }
};

// Framing of a batch of one message: everything around key, value and headers, in format 2, at
// least.
inline constexpr std::size_t kBatchOverhead = 61;
inline constexpr std::size_t kMessageOverhead = 7;

// A request is never larger on the wire than this many bytes of key, value and application headers.
inline std::size_t least_size(const Event &event) {
    return kBatchOverhead + kMessageOverhead + (event.key ? event.key->size() : 0) +
           (event.payload ? event.payload->size() : 0);
}

// Why brokers refuse this event for certain; none: they may take it. `compressed`: sizes on the
// wire are not known.
inline std::optional<std::string> certain_refusal(const Event &event, const TopicFacts &facts,
                                                  bool compressed) {
    if (facts.partitions > 0 && event.partition >= facts.partitions)
        return "the topic has no partition " + std::to_string(event.partition);
    if (facts.compacted && !event.key)
        return "the topic is compacted and the event has no key";
    if (!compressed && facts.max_message_bytes &&
        least_size(event) > static_cast<std::size_t>(*facts.max_message_bytes))
        return "larger than the topic's max.message.bytes of " +
               std::to_string(*facts.max_message_bytes);
    return std::nullopt;
}

// librdkafka's batch.size for a topic that takes batches of `max_message_bytes`: its own estimate
// of the framing is above the truth, but for the head of the batch.
inline int batch_size_for(std::int64_t max_message_bytes) {
    constexpr std::int64_t kHead = 100;
    return static_cast<int>(std::max<std::int64_t>(1, max_message_bytes - kHead));
}

} // namespace once::outbox
