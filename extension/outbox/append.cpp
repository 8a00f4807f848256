#include "outbox/append.hpp"

#include "errors.hpp"
#include "pg/columns.hpp"
#include "pg/random.hpp"
#include "storage/direct_write.hpp"
#include "storage/row_slots.hpp"
#include "storage/sequence.hpp"
#include "wire/lane_map.hpp"
#include "wire/uuid7.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <numeric>
#include <vector>

extern "C" {
#include <access/genam.h>
#include <access/relation.h>
#include <access/tableam.h>
#include <access/transam.h>
#include <nodes/execnodes.h>
#include <nodes/makefuncs.h>
#include <utils/rel.h>
#include <utils/timestamp.h>
#include <utils/xid8.h>
}

namespace once {
namespace {

// What is written of a child table.
enum Column { kXid, kSeq, kTime, kId, kPartition, kForm, kTopic, kKey, kPayload, kHeaders };
constexpr pg::Column kColumns[] = {
    {"xid", XID8OID},       {"seq", INT8OID},     {"time", TIMESTAMPTZOID}, {"id", UUIDOID},
    {"partition", INT4OID}, {"form", CHAROID},    {"topic", TEXTOID},       {"key", BYTEAOID},
    {"payload", BYTEAOID},  {"headers", BYTEAOID}};

void take_id(const Event &event, TimestampTz now, unsigned char *id) {
    if (event.id)
        memcpy(id, event.id, sizeof(Written::id));
    else
        new_id(now, id);
}

// The table and its two indexes, open. Plain values: nothing to destroy when an ERROR jumps past
// it.
struct Target {
    Relation table, by_seq, by_xid;
    bool more_indexes;
    pg::ColumnMap columns;
};

// Within pg::call. False when what was known of the lanes changed before the lock was there.
bool open(Target &target, const Child &child, const Lanes &known) {
    target.table = try_relation_open(child.table, RowExclusiveLock);
    if (!target.table || stale(known)) {
        if (target.table)
            relation_close(target.table, RowExclusiveLock);
        return false;
    }
    target.columns = pg::columns_of(target.table, kColumns, pg::Use::write);
    target.by_seq = index_open(child.by_seq, RowExclusiveLock);
    target.by_xid = index_open(child.by_xid, RowExclusiveLock);
    target.more_indexes = has_further_indexes(target.table, 2);
    return true;
}

// The locks stay until the transaction ends: trimming takes them to find out who still writes.
void close(const Target &target) {
    index_close(target.by_xid, NoLock);
    index_close(target.by_seq, NoLock);
    relation_close(target.table, NoLock);
}

void fill(TupleTableSlot *slot, const Target &target, const Event &event, FullTransactionId xid,
          Written &written, TimestampTz now) {
    Datum values[std::size(kColumns)];
    bool nulls[std::size(kColumns)] = {};
    values[kXid] = FullTransactionIdGetDatum(xid);
    values[kSeq] = Int64GetDatum(written.seq);
    values[kTime] = TimestampTzGetDatum(now);
    values[kId] = PointerGetDatum(written.id);
    values[kPartition] = Int32GetDatum(event.partition);
    nulls[kPartition] = !event.has_partition;
    values[kForm] = CharGetDatum(static_cast<char>(event.form));
    values[kTopic] = event.topic;
    values[kKey] = event.key;
    nulls[kKey] = !event.has_key;
    values[kPayload] = event.payload;
    nulls[kPayload] = !event.has_payload;
    values[kHeaders] = event.headers;
    nulls[kHeaders] = !event.has_headers;
    pg::store_row(slot, target.columns, values, nulls);
}

void add_to_indexes(const Target &target, TupleTableSlot *slot, IndexInfo *info) {
    Datum keys[2] = {slot->tts_values[target.columns.number[kXid] - 1],
                     slot->tts_values[target.columns.number[kSeq] - 1]};
    bool nulls[2] = {false, false};
    index_insert(target.by_seq, keys + 1, nulls, &slot->tts_tid, target.table, UNIQUE_CHECK_YES,
                 false, info);
    index_insert(target.by_xid, keys, nulls, &slot->tts_tid, target.table, UNIQUE_CHECK_NO, false,
                 info);
    if (target.more_indexes)
        add_to_further_indexes(
            target.table, {RelationGetRelid(target.by_seq), RelationGetRelid(target.by_xid)}, slot);
}

bool write_one(const Event &event, const Child &child, const Lanes &known, FullTransactionId xid,
               Written &written, TimestampTz now) {
    Target target;
    if (!open(target, child, known))
        return false;
    TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(target.table), &TTSOpsVirtual);
    IndexInfo *info = makeNode(IndexInfo);
    fill(slot, target, event, xid, written, now);
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
    RowSlots rows = row_slots(target.table, count);
    IndexInfo *info = makeNode(IndexInfo);
    for (int i = 0; i < count; ++i)
        fill(slot_of(rows, i), target, events[order[i]], xid, written[order[i]], now);
    table_multi_insert(target.table, rows.slots, count, GetCurrentCommandId(true), 0, nullptr);
    for (int i = 0; i < count; ++i)
        add_to_indexes(target, rows.slots[i], info);
    drop(rows);
    close(target);
    return true;
}

// The lanes as they are, if the event's lane is still the one it was meant for. They change before
// first use only; then neither lane nor number are of any use.
Lanes &lanes_of(const Event &event) {
    Lanes &known = lanes();
    const auto at = static_cast<size_t>(event.lane);
    if (at >= known.lane.size() || known.lane[at].sequence != event.sequence)
        throw pg::Failure{ERRCODE_T_R_SERIALIZATION_FAILURE,
                          "the lanes were changed by once.set_lanes", "",
                          "Run the transaction again."};
    return known;
}

// A number in the event's lane, drawn after the transaction has its id.
int64_t draw(const Event &event, FullTransactionId &xid) {
    for (;;) {
        const Lanes &known = lanes_of(event);
        const int64_t seq = pg::call([&]() -> int64_t {
            xid = GetTopFullTransactionId();
            Relation sequence = try_relation_open(event.sequence, RowExclusiveLock);
            if (!sequence)
                return 0;
            const int64_t drawn = stale(known) ? 0 : draw_numbers(sequence);
            relation_close(sequence, NoLock);
            return drawn;
        });
        if (seq > 0)
            return seq;
        forget_lanes();
    }
}

// Runs write(child, known) until what is known of the lanes was still true when the child's lock
// was there: trimming any child makes it stale.
template <typename F> void place(const Event &event, int64_t seq, F &&write) {
    for (;;) {
        Lanes &known = lanes_of(event);
        const Child child = child_for(known, event.lane, seq);
        if (pg::call([&] { return write(child, known); }))
            return;
        forget_lanes();
    }
}

// Where a number goes.
struct Place {
    int lane, child;
    auto operator<=>(const Place &) const = default;
};

Place place_of(const Event &event, int64_t seq) {
    const Lane &lane = lanes_of(event).lane[static_cast<size_t>(event.lane)];
    return {event.lane,
            wire::child_of(seq, lane.generation_rows, static_cast<int>(lane.children.size()))};
}

} // namespace

void new_id(TimestampTz now, unsigned char *id) {
    unsigned char random[8];
    pg::random_bytes(random, sizeof random);
    constexpr int64_t kEpochOffset = (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
    const wire::Uuid made = wire::uuid7(now + kEpochOffset, random);
    memcpy(id, made.data(), made.size());
}

Written append(const Event &event) {
    const TimestampTz now = GetCurrentTimestamp();
    FullTransactionId xid{};
    Written written{};
    take_id(event, now, written.id);
    written.seq = draw(event, xid);
    place(event, written.seq, [&](const Child &child, const Lanes &known) {
        return write_one(event, child, known, xid, written, now);
    });
    return written;
}

void append_many(std::span<const Event> events) {
    const TimestampTz now = GetCurrentTimestamp();
    FullTransactionId xid{};
    std::vector<Written> written(events.size());
    std::vector<Place> places(events.size());
    for (size_t i = 0; i < events.size(); ++i) {
        take_id(events[i], now, written[i].id);
        written[i].seq = draw(events[i], xid);
        places[i] = place_of(events[i], written[i].seq);
    }
    std::vector<uint32_t> order(events.size());
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return places[a] < places[b]; });
    for (size_t from = 0, to; from < order.size(); from = to) {
        for (to = from + 1; to < order.size() && places[order[to]] == places[order[from]];)
            ++to;
        const int count = static_cast<int>(to - from);
        place(events[order[from]], written[order[from]].seq,
              [&](const Child &child, const Lanes &known) {
                  return write_run(events, written.data(), order.data() + from, count, child, known,
                                   xid, now);
              });
    }
}

} // namespace once
