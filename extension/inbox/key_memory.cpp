// A consumer that changes its class goes on in its old ring until that ring hands over: whoever
// acts under an older snapshot writes there alone, and there the two meet.
//
//   the stay's ring has not reached `until`   its closing and open generation take keys, and those
//                                             of the next stay too, so that its keep counts at once
//   the ring has reached it                   its closing generation takes keys first, if it is
//                                             the stay's, then the next stay's
//
// once.consumer_set writes `until` under FOR SHARE of the ring's row, so a snapshot that shows the
// handover shows `until` [!].
#include "inbox/key_memory.hpp"

#include "pg/compat.hpp"
#include "storage/key_run.hpp"

extern "C" {
#include <access/stratnum.h>
#include <miscadmin.h>
#include <utils/fmgroids.h>
#include <utils/timestamp.h>
#include <utils/uuid.h>
}

#include <algorithm>

namespace once {
namespace {

// As once.class_span has it; 0: without end.
constexpr int64 kSpans[kClasses] = {
    1 * USECS_PER_DAY,  7 * USECS_PER_DAY,   31 * USECS_PER_DAY,
    92 * USECS_PER_DAY, 366 * USECS_PER_DAY, 0,
};

int64 span_of(Class of) {
    return kSpans[static_cast<int>(of)];
}

// Two stays may name one table.
void add(Oid table, Oid *tables, int &count) {
    if (std::find(tables, tables + count, table) == tables + count)
        tables[count++] = table;
}

struct Rings {
    bool read[kClasses] = {};
    RingState state[kClasses];
    Snapshot snapshot;

    const RingState &of(Class in) {
        const int i = static_cast<int>(in);
        if (!read[i]) {
            state[i] = ring_state(seen_ring(in), snapshot);
            read[i] = true;
        }
        return state[i];
    }
};

void add_inserts(KeyMemory &memory, const Consumer &consumer, Rings &rings) {
    for (int i = 0; i < consumer.stay_count; ++i) {
        const Stay &stay = consumer.stays[i];
        const RingState &ring = rings.of(stay.in);
        const bool here = ring.open < stay.until;
        if (ring.closing && (here || ring.open - 1 < stay.until))
            add(ring_table(seen_ring(stay.in), ring.open - 1), memory.insert, memory.insert_count);
        if (here) {
            add(ring_table(seen_ring(stay.in), ring.open), memory.insert, memory.insert_count);
            memory.now = stay.in;
            memory.serial = ring.open;
        }
    }
}

// The oldest serial that the consumer may have written in the ring, over all its stays.
int64 oldest_of(const Consumer &consumer, Class in) {
    int64 oldest = PG_INT64_MAX;
    for (int i = 0; i < consumer.stay_count; ++i)
        if (consumer.stays[i].in == in)
            oldest = std::min(oldest, consumer.stays[i].since);
    return oldest;
}

// Newest first: that is where most of what comes twice is. The ring that is written to comes first.
void add_looks(KeyMemory &memory, const Consumer &consumer, Rings &rings) {
    for (int i = consumer.stay_count - 1; i >= 0; --i) {
        const Class in = consumer.stays[i].in;
        const RingState &ring = rings.of(in);
        const int64 oldest = oldest_of(consumer, in);
        for (int64 serial = ring.open; serial > ring.open - kRingSlots; --serial) {
            const Generation state = ring.generation(serial);
            if (state == Generation::free || (state == Generation::read_only && serial >= oldest))
                add(ring_table(seen_ring(in), serial), memory.look, memory.look_count);
        }
    }
}

void raise_horizon(KeyMemory &memory, TimestampTz to) {
    memory.horizon = memory.forgot ? std::max(memory.horizon, to) : to;
    memory.forgot = true;
}

// What may have been forgotten of a stay: generations from `since` to the last forgotten one.
void add_horizon(KeyMemory &memory, const Stay &stay, const RingState &ring, Snapshot snapshot) {
    if (!ring.forgot || ring.oldest <= stay.since)
        return;
    TimestampTz when = ring.horizon;
    // Of a ring that it left long ago the newest horizon would say too much.
    if (stay.until < ring.oldest && !closed_at(seen_ring(stay.in), stay.until - 1, snapshot, &when))
        when = ring.horizon;
    raise_horizon(memory, when);
}

// Sender times ahead are rows of the ring "ahead": the owner, and as id the class, the time, the
// serial whose end it outlives, and something that keeps sessions from waiting for each other.
struct Ahead {
    Class in;
    int64 time;
    int64 serial;

    [[nodiscard]] pg_uuid_t id(uint16 session) const {
        pg_uuid_t id;
        id.data[0] = static_cast<unsigned char>(in);
        for (int i = 0; i < 8; ++i)
            id.data[1 + i] = static_cast<unsigned char>(
                (static_cast<uint64>(time) ^ (UINT64CONST(1) << 63)) >> (56 - 8 * i));
        for (int i = 0; i < 5; ++i)
            id.data[9 + i] = static_cast<unsigned char>(serial >> (32 - 8 * i));
        id.data[14] = static_cast<unsigned char>(session >> 8);
        id.data[15] = static_cast<unsigned char>(session);
        return id;
    }
    static Ahead of(const pg_uuid_t &id) {
        uint64 time = 0;
        int64 serial = 0;
        for (int i = 0; i < 8; ++i)
            time = time << 8 | id.data[1 + i];
        for (int i = 0; i < 5; ++i)
            serial = serial << 8 | id.data[9 + i];
        return {static_cast<Class>(id.data[0]), static_cast<int64>(time ^ (UINT64CONST(1) << 63)),
                serial};
    }
};

// Calls take(ahead) for the owner's rows of the class, highest time first in each table, until it
// says that the rest of the table does not matter.
template <typename Take> void each_ahead(int64 owner, Class in, Snapshot snapshot, Take &&take) {
    const RingState ring = ring_state(Ring::ahead, snapshot);
    const pg_uuid_t low = Ahead{in, PG_INT64_MIN, 0}.id(0);
    const pg_uuid_t high = Ahead{in, PG_INT64_MAX, INT64CONST(0xffffffffff)}.id(0xffff);
    for (int slot = 0; slot < kRingSlots; ++slot) {
        const Oid heap = ring_table(Ring::ahead, slot);
        if (ring.generation(ring.serial_in(slot)) == Generation::retired || has_no_rows(heap))
            continue;
        KeyedTable table;
        open_for_lookup(table, heap, kOwnedIds, snapshot);
        ScanKeyData keys[3];
        ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(owner));
        ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_UUID_GE, UUIDPGetDatum(&low));
        ScanKeyInit(&keys[2], 2, BTLessEqualStrategyNumber, F_UUID_LE, UUIDPGetDatum(&high));
        const IndexScanDesc scan = pg::begin_index_scan(table.heap, table.index, snapshot, 3);
        index_rescan(scan, keys, 3, nullptr, 0);
        while (index_getnext_slot(scan, BackwardScanDirection, table.found) &&
               take(Ahead::of(*DatumGetUUIDP(value_of(table, 1)))))
            CHECK_FOR_INTERRUPTS();
        ExecClearTuple(table.found);
        index_endscan(scan);
        close(table);
    }
}

// Times ahead that were told with ids which are forgotten now.
void add_times_ahead(KeyMemory &memory, const Consumer &consumer, Rings &rings) {
    for (int i = 0; i < consumer.stay_count; ++i) {
        const Stay &stay = consumer.stays[i];
        const RingState &ring = rings.of(stay.in);
        if (!ring.forgot || ring.oldest <= stay.since)
            continue;
        each_ahead(memory.owner, stay.in, rings.snapshot, [&](const Ahead &told) {
            if (memory.forgot && told.time <= memory.horizon)
                return false;
            if (told.serial < ring.oldest && told.serial < stay.until && told.serial >= stay.since)
                raise_horizon(memory, told.time);
            return true;
        });
    }
}

} // namespace

KeyMemory key_memory(const Consumer &consumer, int64 owner, Snapshot snapshot) {
    KeyMemory memory;
    Rings rings;
    rings.snapshot = snapshot;
    memory.owner = owner;
    memory.reject_older = consumer.reject_older;
    add_inserts(memory, consumer, rings);
    add_looks(memory, consumer, rings);
    if (!memory.reject_older)
        return memory;
    if (consumer.has_horizon)
        raise_horizon(memory, consumer.horizon);
    for (int i = 0; i < consumer.stay_count; ++i)
        add_horizon(memory, consumer.stays[i], rings.of(consumer.stays[i].in), snapshot);
    add_times_ahead(memory, consumer, rings);
    return memory;
}

void note_time_ahead(const KeyMemory &memory, TimestampTz made_at, Snapshot snapshot) {
    const int64 span = span_of(memory.now);
    const TimestampTz now = GetCurrentTimestamp();
    if (!memory.reject_older || span == 0 || made_at <= now + kClockTolerance)
        return;
    if (made_at > now + span)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("the time of the id is further ahead than the consumer keeps ids"),
                        errhint("Correct the sender's clock.")));
    // Rounded up, so that a sender whose clock is always ahead leaves a row now and then.
    const int64 grain = span / 128;
    const int64 rounded = (made_at / grain + 1) * grain;
    bool covered = false;
    each_ahead(memory.owner, memory.now, snapshot, [&](const Ahead &told) {
        covered = covered || (told.time >= rounded && told.serial <= memory.serial);
        return !covered && told.time >= rounded;
    });
    if (covered)
        return;
    const RingState ring = ring_state(Ring::ahead, snapshot);
    KeyedTable table;
    open_for_insert(table, ring_table(Ring::ahead, ring.open), kOwnedIds);
    const pg_uuid_t id =
        Ahead{memory.now, rounded, memory.serial}.id(static_cast<uint16>(MyProcPid));
    const Datum row[] = {Int64GetDatum(memory.owner), UUIDPGetDatum(&id)};
    (void)insert(table, row, snapshot);
    close(table);
}

} // namespace once
