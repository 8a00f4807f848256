// Rings: what is remembered for a time and then given up whole.
//
// A ring has four tables ("generations", once.<ring>_0 to _3), made with the extension. Each
// generation has a serial, which is never used again; the one with serial s lies in table s % 4:
//
//   free ──▶ open ──▶ closing ──▶ read_only ──▶ retired ──▶ free (the next serial but three)
//
//   serials    … gone … oldest … open - 1   open
//              retired  read_only (closing)
//
// What the states mean and how once.sweep moves them is told in sql/schema/generations/ring.sql. A
// reader learns the state from the ring's one row, under the snapshot of its lookups or an older
// one that is still held [!]: what a session remembers of the row counts only if that very version
// of it is visible to the snapshot. No trigger and no message carries correctness.
//
// Server world: everything may ERROR, so callers stand inside pg::call. Trivially destructible.
#pragma once

#include "pg/prelude.hpp"

extern "C" {
#include <datatype/timestamp.h>
#include <utils/snapshot.h>
}

namespace once {

constexpr int kRingSlots = 4;

// How long a generation is kept after it closed. The numbers are stored in once.consumer_state.
enum class Class : int16 { day, week, month, quarter, year, forever };
constexpr int kClasses = 6;
constexpr Class kDefaultClass = Class::week;

// As sql/schema/generations/ring.sql lists them. seen_ and claim_: one for each class, in order.
enum class Ring : int {
    seen_day,
    seen_week,
    seen_month,
    seen_quarter,
    seen_year,
    seen_forever,
    claim_day,
    claim_week,
    claim_month,
    claim_quarter,
    claim_year,
    claim_forever,
    publish_key,
    token,
    machine_event,
    ahead,
};
constexpr int kRings = 16;

[[nodiscard]] constexpr Ring seen_ring(Class of) {
    return static_cast<Ring>(static_cast<int>(Ring::seen_day) + static_cast<int>(of));
}
[[nodiscard]] constexpr Ring claim_ring(Class of) {
    return static_cast<Ring>(static_cast<int>(Ring::claim_day) + static_cast<int>(of));
}

enum class Generation { free, open, closing, read_only, retired };

// A ring as one snapshot shows it. The default is that of a ring without a row: table 0 is open.
struct RingState {
    static constexpr int64 kFirst = kRingSlots;

    int64 open = kFirst;   // serial of the generation that takes what is new
    int64 oldest = kFirst; // the oldest that is looked into
    int64 gone = kFirst;   // those below have been truncated
    bool closing = false;  // open - 1 still takes what its old writers write
    bool forgot = false;   // something has been forgotten
    TimestampTz horizon =
        0; // if so: how new an id may be that was, 5 minutes of tolerance included

    [[nodiscard]] static int slot_of(int64 serial) { return static_cast<int>(serial % kRingSlots); }
    // The serial that the table has now, or had last.
    [[nodiscard]] int64 serial_in(int slot) const { return open - (open - slot) % kRingSlots; }
    [[nodiscard]] Generation generation(int64 serial) const {
        if (serial == open)
            return Generation::open;
        if (closing && serial == open - 1)
            return Generation::closing;
        if (serial >= oldest)
            return Generation::read_only;
        return serial >= gone ? Generation::retired : Generation::free;
    }
    // Whether a lookup must look into the table. A free one that has rows all the same (restored
    // by hand) is looked into, whatever its state says; tables without rows cost nothing.
    [[nodiscard]] bool looked_into(int64 serial) const {
        const Generation state = generation(serial);
        return state == Generation::read_only || state == Generation::free;
    }
};

// The state that `snapshot` shows. Cheap when it is asked again.
[[nodiscard]] RingState ring_state(Ring ring, Snapshot snapshot);

// The table of a slot, and of a serial; remembered for the session.
[[nodiscard]] Oid ring_table(Ring ring, int slot);
[[nodiscard]] inline Oid ring_table(Ring ring, int64 serial) {
    return ring_table(ring, RingState::slot_of(serial));
}

// Whether the file of a table has no blocks. Takes and releases a lock for reading.
[[nodiscard]] bool has_no_rows(Oid table);

// When the generation closed, plus the tolerance of 5 minutes; false: that is not known (never
// closed). For owners that left the ring: its newest horizon would say too much.
[[nodiscard]] bool closed_at(Ring ring, int64 serial, Snapshot snapshot, TimestampTz *when);

// How far a sender's clock may be ahead before its times are written down.
constexpr int64 kClockTolerance = 5 * SECS_PER_MINUTE * USECS_PER_SEC;

} // namespace once
