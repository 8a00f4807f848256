#include "append.hpp"

#include "errors.hpp"
#include "wire/lane_of.hpp"
#include "wire/uuid7.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

extern "C" {
#include <access/genam.h>
#include <access/relation.h>
#include <access/tableam.h>
#include <access/transam.h>
#include <commands/sequence.h>
#include <nodes/execnodes.h>
#include <nodes/makefuncs.h>
#include <utils/rel.h>
#include <utils/timestamp.h>
#include <utils/xid8.h>
}

namespace once {
namespace {

// Columns of a child table, from 0.
enum Column { kXid, kSeq, kTime, kId, kPartition, kTopic, kKey, kPayload, kHeaders, kColumns };

void new_id(TimestampTz now, unsigned char *id) {
    // One call of the random source for many ids.
    static unsigned char pool[512];
    static size_t used = sizeof(pool);
    if (used == sizeof(pool)) {
        pg::call([] {
            if (!pg_strong_random(pool, sizeof(pool)))
                ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
                                errmsg("could not generate random values")));
        });
        used = 0;
    }
    constexpr int64_t kEpochOffset = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
    const wire::Uuid made = wire::uuid7(now + kEpochOffset, pool + used);
    used += 8;
    memcpy(id, made.data(), made.size());
}

// The table and its two indexes, open. Plain values: nothing to destroy when an ERROR jumps past
// it.
struct Target {
    Relation table, by_seq, by_xid;
};

// Within pg::call. False when what was known of the lanes changed before the lock was there.
bool open(Target &target, const Child &child, const Lanes &known) {
    target.table = try_relation_open(child.table, RowExclusiveLock);
    if (!target.table || stale(known)) {
        if (target.table)
            relation_close(target.table, RowExclusiveLock);
        return false;
    }
    target.by_seq = index_open(child.by_seq, RowExclusiveLock);
    target.by_xid = index_open(child.by_xid, RowExclusiveLock);
    return true;
}

// The locks stay until the transaction ends: trimming takes them to find out who still writes.
void close(const Target &target) {
    index_close(target.by_xid, NoLock);
    index_close(target.by_seq, NoLock);
    relation_close(target.table, NoLock);
}

void fill(TupleTableSlot *slot, const Event &event, FullTransactionId xid, Written &written,
          TimestampTz now) {
    Datum *values = slot->tts_values;
    bool *nulls = slot->tts_isnull;
    ExecClearTuple(slot);
    memset(nulls, 0, kColumns);
    values[kXid] = FullTransactionIdGetDatum(xid);
    values[kSeq] = Int64GetDatum(written.seq);
    values[kTime] = TimestampTzGetDatum(now);
    values[kId] = PointerGetDatum(written.id);
    values[kPartition] = Int32GetDatum(event.partition);
    nulls[kPartition] = !event.has_partition;
    values[kTopic] = event.topic;
    values[kKey] = event.key;
    nulls[kKey] = !event.has_key;
    values[kPayload] = event.payload;
    nulls[kPayload] = !event.has_payload;
    values[kHeaders] = event.headers;
    nulls[kHeaders] = !event.has_headers;
    ExecStoreVirtualTuple(slot);
}

void add_to_indexes(const Target &target, TupleTableSlot *slot, IndexInfo *info) {
    Datum keys[2] = {slot->tts_values[kXid], slot->tts_values[kSeq]};
    bool nulls[2] = {false, false};
    index_insert(target.by_seq, keys + 1, nulls, &slot->tts_tid, target.table, UNIQUE_CHECK_YES,
                 false, info);
    index_insert(target.by_xid, keys, nulls, &slot->tts_tid, target.table, UNIQUE_CHECK_NO, false,
                 info);
}

void assert_shape(const Target &target) {
    if (RelationGetNumberOfAttributes(target.table) != kColumns)
        elog(ERROR, "table \"%s\" has another shape than this version of pg_once writes",
             RelationGetRelationName(target.table));
}

// A number in the lane, drawn after the transaction has its id.
int64_t draw(const Lane &lane, FullTransactionId &xid) {
    xid = GetTopFullTransactionId();
    return nextval_internal(lane.sequence, false);
}

bool write_one(const Event &event, const Child &child, const Lanes &known, FullTransactionId xid,
               Written &written, TimestampTz now) {
    Target target;
    if (!open(target, child, known))
        return false;
    assert_shape(target);
    TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(target.table), &TTSOpsVirtual);
    IndexInfo *info = makeNode(IndexInfo);
    fill(slot, event, xid, written, now);
    table_tuple_insert(target.table, slot, GetCurrentCommandId(true), 0, nullptr);
    add_to_indexes(target, slot, info);
    ExecDropSingleTupleTableSlot(slot);
    pfree(info);
    close(target);
    return true;
}

// Events that fall into one child, `count` of them by their places in `order`.
bool write_run(std::span<const Event> events, Written *written, const uint32_t *order, int count,
               const Child &child, const Lanes &known, FullTransactionId xid, TimestampTz now) {
    Target target;
    if (!open(target, child, known))
        return false;
    assert_shape(target);
    auto **slots =
        static_cast<TupleTableSlot **>(palloc(sizeof(TupleTableSlot *) * static_cast<Size>(count)));
    IndexInfo *info = makeNode(IndexInfo);
    for (int i = 0; i < count; ++i) {
        slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(target.table), &TTSOpsVirtual);
        fill(slots[i], events[order[i]], xid, written[order[i]], now);
    }
    table_multi_insert(target.table, slots, count, GetCurrentCommandId(true), 0, nullptr);
    for (int i = 0; i < count; ++i) {
        add_to_indexes(target, slots[i], info);
        ExecDropSingleTupleTableSlot(slots[i]);
    }
    close(target);
    return true;
}

// Where a number goes, and the sequence it came from.
struct Place {
    int lane, child;
    auto operator<=>(const Place &) const = default;
};

Place place_of(const Lanes &known, const Event &event, int64_t seq) {
    const Lane &lane = known.lane[static_cast<size_t>(event.lane)];
    return {event.lane,
            wire::child_of(seq, lane.generation_rows, static_cast<int>(lane.children.size()))};
}

// Runs write(child, known) until what is known of the lanes was still true when the child's lock
// was there: trimming any child makes it stale. A lane made anew has another sequence; then the
// number and the lane are of no use.
template <typename F> void place(int lane, int64_t seq, Oid sequence, F &&write) {
    for (;;) {
        Lanes &known = lanes();
        const auto at = static_cast<size_t>(lane);
        if (at >= known.lane.size() || known.lane[at].sequence != sequence)
            throw pg::Failure{ERRCODE_T_R_SERIALIZATION_FAILURE,
                              "the lanes were changed by once.set_lanes", "",
                              "Run the transaction again."};
        const Child child = child_for(known, lane, seq);
        if (pg::call([&] { return write(child, known); }))
            return;
        forget_lanes();
    }
}

} // namespace

void assert_writable(const char *function) {
    pg::call([&] {
        PreventCommandIfReadOnly(function);
        PreventCommandDuringRecovery(function);
        PreventCommandIfParallelMode(function);
    });
}

Written append(const Event &event) {
    const Lane &lane = lanes().lane[static_cast<size_t>(event.lane)];
    const Oid sequence = lane.sequence;
    const TimestampTz now = GetCurrentTimestamp();
    FullTransactionId xid{};
    Written written{};
    new_id(now, written.id);
    written.seq = pg::call([&] { return draw(lane, xid); });
    place(event.lane, written.seq, sequence, [&](const Child &child, const Lanes &known) {
        return write_one(event, child, known, xid, written, now);
    });
    return written;
}

void append_many(std::span<const Event> events) {
    const TimestampTz now = GetCurrentTimestamp();
    FullTransactionId xid{};
    const Lanes &known = lanes();
    std::vector<Written> written(events.size());
    std::vector<Place> places(events.size());
    std::vector<Oid> sequences;
    for (const Lane &lane : known.lane)
        sequences.push_back(lane.sequence);
    for (size_t i = 0; i < events.size(); ++i) {
        const Lane &lane = known.lane[static_cast<size_t>(events[i].lane)];
        new_id(now, written[i].id);
        written[i].seq = pg::call([&] { return draw(lane, xid); });
        places[i] = place_of(known, events[i], written[i].seq);
    }
    std::vector<uint32_t> order(events.size());
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return places[a] < places[b]; });
    for (size_t from = 0, to; from < order.size(); from = to) {
        const Place at = places[order[from]];
        for (to = from + 1; to < order.size() && places[order[to]] == at;)
            ++to;
        place(at.lane, written[order[from]].seq, sequences[static_cast<size_t>(at.lane)],
              [&](const Child &child, const Lanes &current) {
                  return write_run(events, written.data(), order.data() + from,
                                   static_cast<int>(to - from), child, current, xid, now);
              });
    }
}

} // namespace once
