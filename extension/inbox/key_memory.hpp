// Where a consumer's keys are looked for and where they are written, as one snapshot shows it.
#pragma once

#include "inbox/consumer.hpp"

#include <optional>

namespace once {

// Trivially destructible. A key is new only if no table of `look` has it and every insert into
// `insert`, in this order, succeeded.
struct KeyMemory {
    static constexpr int kMostLooks = kClasses * kRingSlots;
    static constexpr int kMostInserts = 2 * kClasses;

    int64 owner = 0;
    bool reject_older = false;
    bool forgot = false;       // some of its ids may have been forgotten,
    TimestampTz horizon = 0;   // those that are not newer than this
    Class now = kDefaultClass; // where it writes
    int64 serial = 0;          // the open generation there
    int look_count = 0, insert_count = 0;
    Oid look[kMostLooks];
    Oid insert[kMostInserts];
};

// Server world.
[[nodiscard]] KeyMemory key_memory(const Consumer &consumer, int64 owner, Snapshot snapshot);

// Sender times that are further ahead of the server's clock than the tolerance are written down:
// no horizon computed from our own clock covers them. Server world; does nothing for other times.
// ERROR 22023 for a time further ahead than the class.
void note_time_ahead(const KeyMemory &memory, TimestampTz made_at, Snapshot snapshot);

} // namespace once
