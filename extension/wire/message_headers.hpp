// The headers that the relay writes to each message, and what a reader makes of them: the contract
// with everybody who reads our topics.
//
//     once-id        the event's id, a uuid as text; the same in every copy of the event
//     once-source    <incarnation>/<lane>: the stream that numbers its messages
//     once-position  number of the message in that stream, decimal, rising
//     once-topic     the topic that the relay wrote the message to
//
// A stream processor copies headers to the records that it makes. Where once-topic is not the topic
// that a message is read from, all headers of this prefix are such a copy and count for nothing:
// records that were made of one message would else be taken for its duplicates.
#pragma once

#include <string_view>

namespace once::wire {

// Reserved: publish refuses application headers with this prefix.
inline constexpr std::string_view kOncePrefix = "once-";

inline constexpr std::string_view kIdHeader = "once-id";
inline constexpr std::string_view kSourceHeader = "once-source";
inline constexpr std::string_view kPositionHeader = "once-position";
inline constexpr std::string_view kTopicHeader = "once-topic";

[[nodiscard]] inline bool is_once_header(std::string_view name) {
    return name.substr(0, kOncePrefix.size()) == kOncePrefix;
}

} // namespace once::wire
