#include "relay/outbox/lane_state.hpp"

namespace once::outbox {
namespace {

using S = LaneState;
using C = LaneCause;

constexpr LaneTransition kTransitions[] = {
    {S::connecting, C::lane_held, S::standby, "another relay ships; this one waits for its lock"},
    {S::connecting, C::lane_taken, S::starting, "the lane's lock is ours"},
    {S::standby, C::lane_held, S::standby, "asked again, still held"},
    {S::standby, C::lane_taken, S::starting, "the holder ended, or was silent for too long"},
    {S::starting, C::server_away, S::retrying, "no broker answers"},
    {S::starting, C::right_missing, S::blocked, "Kafka gives us no right to what the start needs"},
    {S::starting, C::same_history, S::recovering, "what Kafka holds was shipped from here"},
    {S::recovering, C::server_away, S::recovering, "tried again with new producers"},
    {S::recovering, C::right_missing, S::blocked, "a right was taken away"},
    {S::recovering, C::irregular_end, S::recovering, "the genesis did not commit"},
    {S::recovering, C::committed, S::recovering, "the genesis, or what an operator decided"},
    {S::recovering, C::message_waits, S::refused, "the record itself is refused"},
    {S::recovering, C::checkpoint_read, S::running, "the checkpoint says where to go on"},
    {S::running, C::committed, S::running, "brokers hold the transaction"},
    {S::running, C::topics_usable, S::running, "nothing to wait for"},
    {S::running, C::irregular_end, S::recovering, "only the checkpoint tells what was committed"},
    {S::running, C::server_away, S::retrying, "no broker answers"},
    {S::running, C::right_missing, S::blocked, "a topic is missing or not ours to write"},
    {S::running, C::message_waits, S::refused, "a message is refused for a reason that passes"},
    {S::retrying, C::server_away, S::retrying, "still away"},
    {S::retrying, C::lane_held, S::standby, "another relay took over meanwhile"},
    {S::retrying, C::lane_taken, S::starting, "the session is back, and the lane is ours"},
    {S::retrying, C::right_missing, S::blocked, "brokers answer, and refuse"},
    {S::retrying, C::same_history, S::recovering, "brokers answer again"},
    {S::retrying, C::topics_usable, S::running, "brokers answer again"},
    {S::retrying, C::irregular_end, S::recovering, "only the checkpoint tells what was committed"},
    {S::retrying, C::message_waits, S::refused, "the transaction before was refused"},
    {S::retrying, C::committed, S::retrying, "the transaction before ended well"},
    {S::blocked, C::right_missing, S::blocked, "not repaired yet"},
    {S::blocked, C::server_away, S::retrying, "no broker answers"},
    {S::blocked, C::same_history, S::recovering, "repaired"},
    {S::blocked, C::checkpoint_read, S::running, "repaired"},
    {S::blocked, C::topics_usable, S::running, "repaired"},
    {S::blocked, C::irregular_end, S::recovering, "only the checkpoint tells what was committed"},
    {S::blocked, C::message_waits, S::refused, "the transaction before was refused"},
    {S::blocked, C::committed, S::blocked, "the transaction before ended well"},
    {S::blocked, C::lane_held, S::standby, "another relay took over meanwhile"},
    {S::blocked, C::lane_taken, S::starting, "the session is back, and the lane is ours"},
    {S::refused, C::committed, S::running, "the brokers took it"},
    {S::refused, C::message_waits, S::refused, "not taken yet"},
    {S::refused, C::irregular_end, S::refused, "not taken yet"},
    {S::refused, C::server_away, S::refused, "not taken yet"},
    {S::refused, C::right_missing, S::refused, "not taken yet"},
    {S::refused, C::topics_usable, S::refused, "topics are there, what they hold back is not sent"},
    {S::refused, C::checkpoint_read, S::refused, "a commit is still missing"},
};

// In every state.
constexpr LaneTransition kAlways[] = {
    {S::connecting, C::session_lost, S::retrying, "the lane's lock went with the session"},
    {S::connecting, C::asked_to_stop, S::stopping, "a signal, or nothing is left to ship"},
    {S::stopping, C::ended, S::stopped, "all that could be finished is"},
};

void add_row(std::string &text, std::string_view from, const LaneTransition &row) {
    text += "| " + std::string(from) + " | " + std::string(to_string(row.cause)) + " | " +
            std::string(to_string(row.to)) + " | " + std::string(row.reason) + " |\n";
}

} // namespace

std::string_view to_string(LaneState state) {
    constexpr std::string_view kNames[] = {"connecting", "standby",  "starting", "recovering",
                                           "running",    "retrying", "blocked",  "refused",
                                           "stopping",   "stopped"};
    return kNames[static_cast<std::size_t>(state)];
}

std::string_view to_string(LaneCause cause) {
    constexpr std::string_view kNames[] = {
        "lane held",    "lane taken",    "same history",  "checkpoint read", "irregular end",
        "server away",  "right missing", "message waits", "topics usable",   "committed",
        "session lost", "asked to stop", "ended"};
    return kNames[static_cast<std::size_t>(cause)];
}

std::span<const LaneTransition> lane_transitions() {
    return kTransitions;
}

std::optional<LaneState> next_state(LaneState from, LaneCause cause) {
    for (const LaneTransition &row : kAlways)
        if (row.cause == cause)
            return row.to;
    if (from == S::stopping)
        return from; // what still ends meanwhile changes nothing
    for (const LaneTransition &row : kTransitions)
        if (row.from == from && row.cause == cause)
            return row.to;
    return std::nullopt;
}

std::string lane_transitions_as_markdown() {
    std::string text = "| state | cause | next | reason |\n|---|---|---|---|\n";
    for (const LaneTransition &row : kTransitions)
        add_row(text, to_string(row.from), row);
    for (const LaneTransition &row : kAlways)
        add_row(text, row.cause == C::ended ? "stopping" : "any", row);
    return text;
}

} // namespace once::outbox
