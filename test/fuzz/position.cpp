// The record in the position topic: anybody who may write there can put any bytes into it.
#include "relay/outbox/position.hpp"

#include "test/fuzz/target.hpp"

#include <nlohmann/json.hpp>

using namespace once::outbox;
using once::fuzz::hold;

namespace {

// What was read is what stands there: no number cut down, no text changed.
void same_members(std::string_view text, const Position &position) {
    const auto given = nlohmann::json::parse(text);
    const auto written = nlohmann::json::parse(encode(position));
    for (const char *name : {"format", "incarnation", "database_oid", "timeline", "lsn", "s_prev",
                             "s_now", "last_id", "mode", "time"})
        hold(given.at(name) == written.at(name), name);
    for (const auto &[name, value] : written.items())
        hold(given.at(name).type() == value.type(), "type of a member");
}

void foreign(std::string_view text) {
    Position position;
    try {
        position = decode_position(text);
    } catch (const UnreadablePosition &) {
        return;
    }
    same_members(text, position);
    hold(decode_position(encode(position)) == position, "encoded and decoded again");
    hold(position.counter >= 0 && position.redrive_no >= 0, "counters never negative");
    hold(!position.slice_seq || position.passed() == &*position.s_prev, "a slice relies on s_prev");
    hold(!regression(position, position), "a position follows itself");
    if (position.counter > 0) {
        Position earlier = position;
        --earlier.counter;
        hold(!regression(earlier, position), "a later counter follows");
        hold(regression(position, earlier).has_value(), "an earlier counter never does");
    }
}

// Whatever the relay writes it can read.
void ours(once::fuzz::Bytes in) {
    constexpr const char *snapshots[] = {"3:3:", "10:20:12,15", "1:18446744073709551615:7"};
    Position p;
    p.incarnation = "7718ebe9-5cd0-4dc1-a6a9-08bf7aa4f043";
    p.database_oid = in.number<std::uint32_t>();
    p.system_identifier = std::to_string(in.number<std::uint64_t>());
    p.timeline = in.number<std::uint32_t>();
    p.lsn = "1A/FF";
    if (in.flag())
        p.s_prev = snapshots[in.number<std::uint8_t>() % 3];
    p.s_now = snapshots[in.number<std::uint8_t>() % 3];
    if (p.s_prev && in.flag())
        p.slice_seq = in.number<std::int64_t>();
    if (in.flag()) {
        p.last_seq = in.number<std::int64_t>();
        p.last_id = "01a20462-cb4d-7d5c-bc1d-1dfa62aa9a9a";
    }
    if (in.flag())
        p.mode = "missing";
    p.redrive_no = in.number<std::int64_t>() & INT64_MAX;
    p.counter = in.number<std::int64_t>() & INT64_MAX;
    p.time = "2026-01-31T12:00:00Z";
    hold(decode_position(encode(p)) == p, "decode(encode(x)) is x");
}

void run(std::string_view input) {
    if (input.starts_with('{'))
        foreign(input);
    else
        ours(once::fuzz::Bytes(input));
}

} // namespace

ONCE_FUZZ_TARGET("position", run)
