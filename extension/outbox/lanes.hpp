// What a session remembers of lanes and topics, so that publishing looks nothing up. Server ids
// only: tables are opened by id in each call. Invalidation messages only tag; the next look
// rebuilds.
#pragma once

#include "pg/session_cache.hpp"

#include "wire/lane_map.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace once {

// A child table once.event_<lane>_<k>. Resolved when it is first written to.
struct Child {
    Oid table = InvalidOid;
    Oid by_seq = InvalidOid; // primary key (seq)
    Oid by_xid = InvalidOid; // (xid, seq)
};

struct Lane {
    Oid sequence = InvalidOid;
    int64_t generation_rows = 0;
    std::vector<Child> children;
};

struct TopicLimits {
    int max_bytes = 0;       // 0: once.max_event_bytes
    int64_t max_backlog = 0; // 0: once.max_backlog
};

struct Lanes {
    [[nodiscard]] int lane_of(std::string_view key) const noexcept {
        return lane.size() == 1 ? 0 : slot[static_cast<size_t>(wire::slot_of(key))];
    }

    std::vector<Lane> lane;
    std::array<uint8_t, wire::kSlots> slot{}; // the lane of each slot
    std::unordered_map<std::string, TopicLimits, pg::StringHash, std::equal_to<>> topic;
    uint64_t generation = 0; // of the invalidation counter when it was read
};

// Up to date with every invalidation message this session has received. The reference holds until
// the next call. 55000 when there is no extension in this database.
[[nodiscard]] Lanes &lanes();

// Whether something changed since `known` was read; to be asked again once a table's lock is held.
[[nodiscard]] bool stale(const Lanes &known) noexcept;

// Forgets everything: for ids that turned out not to exist.
void forget_lanes() noexcept;

// The child table for a number. 55000 when one of the two indexes it was made with is missing.
[[nodiscard]] const Child &child_for(Lanes &known, int lane, int64_t seq);

// The lane of this number, or 22004, 22023.
[[nodiscard]] Lane &lane_at(Lanes &known, bool is_null, int lane);

// The last number drawn from a lane's sequence, 0 if none. Only to be called within pg::call.
[[nodiscard]] int64_t last_drawn(Oid sequence);

} // namespace once
