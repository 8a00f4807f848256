// What a lane is doing, as a type, and the only ways from one state to another, as a table. Pure.
// README.md of this folder prints the table; a unit test compares.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace once::outbox {

enum class LaneState {
    connecting, // has no session, or has not asked for the lane yet
    standby,    // another relay holds the lane
    starting,   // holds the lane; asks whether the history is the one that was shipped
    recovering, // new producers, start record, checkpoint read back
    running,    // ships, or knows that nothing waits
    retrying,   // a server is away
    blocked,    // somebody has to repair something; every attempt begins anew
    refused,    // blocked in the middle of shipping: only a commit proves the repair
    stopping,
    stopped,
};

enum class LaneCause {
    lane_held,
    lane_taken,
    same_history,
    checkpoint_read,
    irregular_end,
    server_away,
    right_missing,
    message_waits,
    topics_usable,
    committed,
    session_lost,
    asked_to_stop,
    ended,
};

struct LaneTransition {
    LaneState from;
    LaneCause cause;
    LaneState to;
    std::string_view reason;
};

std::string_view to_string(LaneState state);
std::string_view to_string(LaneCause cause);

std::span<const LaneTransition> lane_transitions();
// None: the cause cannot occur in this state, which is a bug of ours.
std::optional<LaneState> next_state(LaneState from, LaneCause cause);
// The table as it stands in README.md.
std::string lane_transitions_as_markdown();

} // namespace once::outbox
