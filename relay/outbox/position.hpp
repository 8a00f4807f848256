// How far a lane is: the value of its record in the position topic. A plain value; encoding and
// decoding are pure.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace once::outbox {

inline constexpr std::uint32_t kPositionFormat = 1;

// Nothing an application wrote is visible in it: 3 is the first normal transaction id.
inline constexpr std::string_view kEmptySnapshot = "3:3:";

struct Position {
    std::string incarnation;
    std::uint32_t database_oid = 0;
    std::string system_identifier; // unsigned 64 bits, never calculated with
    std::uint32_t timeline = 0;
    std::string lsn;                   // flushed, and waited for where standbys are synchronous
    std::optional<std::string> s_prev; // none: the genesis
    std::string s_now;
    // How far into (s_prev, s_now]; none: finished, the next difference starts at s_now.
    std::optional<std::int64_t> slice_seq;
    std::optional<std::int64_t> last_seq; // last event passed on the main path, shipped or parked
    std::optional<std::string> last_id;
    std::int64_t redrive_no = 0;
    std::optional<std::string> mode; // of a rearm, until its first s_now is finished
    std::int64_t counter = 0;        // events shipped on this lane
    std::string time;                // when it was written, by the clock of the relay

    bool operator==(const Position &) const = default;

    // Everything that became visible by this snapshot has been passed: what trimming may rely on.
    const std::string *passed() const {
        if (!slice_seq)
            return &s_now;
        return s_prev ? &*s_prev : nullptr;
    }
};

// The key of a lane's records, and its source name in the messages.
inline std::string position_key(const std::string &incarnation, int lane) {
    return incarnation + "/" + std::to_string(lane);
}

struct UnreadablePosition : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// JSON, numbers that may not fit into a double as strings.
std::string encode(const Position &position);
// Throws UnreadablePosition: unknown format, missing or malformed member.
Position decode_position(std::string_view json);

// When it was written, by the clock of the relay that did, in milliseconds since 1970; none: no
// time that can be read.
std::optional<std::int64_t> time_ms(const Position &position);

// An error in words when `next` cannot follow `last` on one lane: the log was tampered with or two
// relays wrote it.
std::optional<std::string> regression(const Position &last, const Position &next);

} // namespace once::outbox
