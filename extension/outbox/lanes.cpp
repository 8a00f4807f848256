#include "outbox/lanes.hpp"

#include "errors.hpp"
#include "pg/columns.hpp"
#include "pg/spi.hpp"
#include "storage/direct_write.hpp"

#include <algorithm>

extern "C" {
#include <access/htup_details.h>
#include <access/relation.h>
#include <access/table.h>
#include <access/tableam.h>
#include <catalog/namespace.h>
#include <catalog/pg_index.h>
#include <commands/sequence.h>
#include <commands/trigger.h>
#include <storage/bufmgr.h>
#include <utils/inval.h>
#include <utils/lsyscache.h>
#include <utils/rel.h>
#include <utils/syscache.h>
}

namespace once {
namespace {

constexpr pg::Column kLaneColumns[] = {
    {"lane", INT4OID}, {"children", INT4OID}, {"generation_rows", INT8OID}};
constexpr pg::Column kSlotColumns[] = {{"slot", INT2OID}, {"lane", INT4OID}};
constexpr pg::Column kTopicColumns[] = {
    {"topic", TEXTOID}, {"max_bytes", INT4OID}, {"max_backlog", INT8OID}};
constexpr pg::Column kChildKeys[] = {{"xid", XID8OID}, {"seq", INT8OID}};
constexpr int kMaxLanes = 64;

uint64_t generation = 1; // raised by invalidation messages
Oid lane_table = InvalidOid, slot_table = InvalidOid, topic_table = InvalidOid;
Lanes known_lanes;

bool watched(Oid relation) {
    if (relation == lane_table || relation == slot_table || relation == topic_table)
        return true;
    for (const Lane &lane : known_lanes.lane)
        for (const Child &child : lane.children)
            if (child.table == relation)
                return true;
    return false;
}

// Comes in the middle of anything, also of the reading below: it may only count.
void on_relation_changed(void *, Oid relation) noexcept {
    if (!OidIsValid(relation) || !OidIsValid(lane_table) || watched(relation))
        ++generation;
}

Oid schema_oid() {
    const Oid schema = pg::call([] { return get_namespace_oid("once", true); });
    if (!OidIsValid(schema))
        throw pg::Failure{ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                          "extension pg_once is not installed in this database"};
    return schema;
}

Oid relation_oid(Oid schema, const char *name) {
    const Oid relation = pg::call([&] { return get_relname_relid(name, schema); });
    if (!OidIsValid(relation))
        throw pg::Failure{ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                          std::string("relation \"once.") + name + "\" does not exist", "",
                          "The extension is damaged or is being created or dropped."};
    return relation;
}

// Calls row(value, null) for every row, with these columns. The snapshot is the newest: what is
// remembered outlives this transaction, so an old one of a REPEATABLE READ transaction must not get
// in. All tables are read with the same: the slots of other lanes would name lanes that are not
// there. Within pg::call.
template <size_t N, typename F>
void scan(Oid table, const pg::Column (&columns)[N], Snapshot snapshot, F &&row) {
    Relation relation = table_open(table, AccessShareLock);
    const pg::ColumnMap map = pg::columns_of(relation, columns, pg::Use::read);
    TableScanDesc scan = table_beginscan(relation, snapshot, 0, nullptr);
    TupleTableSlot *slot = table_slot_create(relation, nullptr);
    while (table_scan_getnextslot(scan, ForwardScanDirection, slot)) {
        Datum value[N];
        bool null[N];
        for (size_t i = 0; i < N; ++i)
            value[i] = pg::read_column(slot, map, static_cast<int>(i), &null[i]);
        row(value, null);
    }
    ExecDropSingleTupleTableSlot(slot);
    table_endscan(scan);
    table_close(relation, AccessShareLock);
}

struct LaneRow {
    int children;
    int64_t generation_rows;
};

void read_lanes(Oid schema, Snapshot snapshot, Lanes &into) {
    LaneRow rows[kMaxLanes] = {};
    int count = 0;
    pg::call([&] {
        scan(lane_table, kLaneColumns, snapshot, [&](const Datum *value, const bool *) {
            const int lane = DatumGetInt32(value[0]);
            if (lane < 0 || lane >= kMaxLanes)
                return;
            rows[lane] = {DatumGetInt32(value[1]), DatumGetInt64(value[2])};
            count = Max(count, lane + 1);
        });
    });
    for (int i = 0; i < count; ++i) {
        Lane lane;
        lane.generation_rows = rows[i].generation_rows;
        lane.children.resize(static_cast<size_t>(rows[i].children));
        lane.sequence = relation_oid(schema, ("event_" + std::to_string(i) + "_seq").c_str());
        if (lane.children.empty())
            throw pg::Failure{ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                              "lane " + std::to_string(i) + " is missing"};
        into.lane.push_back(std::move(lane));
    }
    if (into.lane.empty())
        throw pg::Failure{ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                          "there is no lane to publish to"};
}

// Every slot has a lane that exists, or nothing is published: an event without its place in the
// order of its key must not be written.
void read_slots(Snapshot snapshot, Lanes &into) {
    int lane_of[wire::kSlots];
    std::fill(lane_of, lane_of + wire::kSlots, -1);
    pg::call([&] {
        scan(slot_table, kSlotColumns, snapshot, [&](const Datum *value, const bool *) {
            const int slot = DatumGetInt16(value[0]);
            if (slot >= 0 && slot < wire::kSlots)
                lane_of[slot] = DatumGetInt32(value[1]);
        });
    });
    for (size_t slot = 0; slot < into.slot.size(); ++slot) {
        if (lane_of[slot] < 0 || static_cast<size_t>(lane_of[slot]) >= into.lane.size())
            throw pg::Failure{ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                              "slot " + std::to_string(slot) + " has no lane", "",
                              "Rows of once.slot are written by once.set_lanes alone."};
        into.slot[slot] = static_cast<uint8_t>(lane_of[slot]);
    }
}

struct TopicRow {
    const char *name;
    int length;
    TopicLimits limits;
};

void read_topics(Snapshot snapshot, Lanes &into) {
    TopicRow *rows = nullptr;
    int count = 0, room = 0;
    pg::call([&] {
        scan(topic_table, kTopicColumns, snapshot, [&](const Datum *value, const bool *null) {
            text *name = DatumGetTextPP(value[0]);
            if (count == room) {
                room = room ? 2 * room : 64;
                const Size size = static_cast<Size>(room) * sizeof(TopicRow);
                rows = static_cast<TopicRow *>(rows ? repalloc_huge(rows, size) : palloc(size));
            }
            const int length = static_cast<int>(VARSIZE_ANY_EXHDR(name));
            rows[count++] = {
                pnstrdup(VARDATA_ANY(name), static_cast<Size>(length)),
                length,
                {null[1] ? 0 : DatumGetInt32(value[1]), null[2] ? 0 : DatumGetInt64(value[2])}};
        });
    });
    for (int i = 0; i < count; ++i)
        into.topic.emplace(std::string(rows[i].name, static_cast<size_t>(rows[i].length)),
                           rows[i].limits);
}

void rebuild() {
    pg::call([] { pg::watch_relations(on_relation_changed); });
    Lanes fresh;
    fresh.generation = generation;
    lane_table = slot_table = topic_table = InvalidOid; // whatever comes in from here on counts
    const Oid schema = schema_oid();
    const Oid lane = relation_oid(schema, "lane"), slot = relation_oid(schema, "slot"),
              topic = relation_oid(schema, "topic");
    lane_table = lane;
    slot_table = slot;
    topic_table = topic;
    const pg::NewestSnapshot snapshot;
    read_lanes(schema, snapshot.get(), fresh);
    read_slots(snapshot.get(), fresh);
    read_topics(snapshot.get(), fresh);
    known_lanes = std::move(fresh);
}

// Whether it is the table's index (xid, seq): of two, during a REINDEX CONCURRENTLY, the one that
// is complete.
bool is_by_xid(Oid index, const pg::ColumnMap &keys) {
    HeapTuple row = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
    if (!HeapTupleIsValid(row))
        return false;
    const auto *form = reinterpret_cast<Form_pg_index>(GETSTRUCT(row));
    const bool found = form->indisvalid && !form->indisunique && form->indnkeyatts == 2 &&
                       form->indkey.values[0] == keys.number[0] &&
                       form->indkey.values[1] == keys.number[1] &&
                       heap_attisnull(row, Anum_pg_index_indpred, nullptr);
    ReleaseSysCache(row);
    return found;
}

Child indexes_of(Oid table) {
    Relation relation = table_open(table, RowExclusiveLock);
    refuse_triggers(relation);
    const pg::ColumnMap keys =
        pg::columns_of(RelationGetDescr(relation), kChildKeys, RelationGetRelationName(relation));
    List *list = RelationGetIndexList(relation);
    Child found = {table, relation->rd_pkindex, InvalidOid};
    ListCell *cell;
    foreach (cell, list)
        if (is_by_xid(lfirst_oid(cell), keys))
            found.by_xid = lfirst_oid(cell);
    list_free(list);
    table_close(relation, NoLock);
    return found;
}

} // namespace

Lanes &lanes() {
    while (known_lanes.generation != generation)
        rebuild();
    return known_lanes;
}

bool stale(const Lanes &known) noexcept {
    return known.generation != generation;
}

void forget_lanes() noexcept {
    ++generation;
}

const Child &child_for(Lanes &known, int lane, int64_t seq) {
    Lane &at = known.lane[static_cast<size_t>(lane)];
    const int number =
        wire::child_of(seq, at.generation_rows, static_cast<int>(at.children.size()));
    Child &child = at.children[static_cast<size_t>(number)];
    if (OidIsValid(child.table))
        return child;
    const std::string name = "event_" + std::to_string(lane) + "_" + std::to_string(number);
    const Oid table = relation_oid(schema_oid(), name.c_str());
    const Child found = pg::call([&] { return indexes_of(table); });
    if (!OidIsValid(found.by_seq) || !OidIsValid(found.by_xid))
        throw pg::Failure{ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                          "table \"once." + name + "\" lacks an index it was made with",
                          "The relay finds events by its primary key (seq) and by (xid, seq).",
                          "Make it again, or REINDEX it if it is invalid."};
    child = found;
    return child;
}

Lane &lane_at(Lanes &known, bool is_null, int lane) {
    if (is_null)
        throw pg::Failure{ERRCODE_NULL_VALUE_NOT_ALLOWED, "lane must not be null"};
    if (lane < 0 || static_cast<size_t>(lane) >= known.lane.size())
        throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE,
                          "lane " + std::to_string(lane) + " does not exist", "",
                          "once.set_lanes sets their number, before first use."};
    return known.lane[static_cast<size_t>(lane)];
}

int64_t last_drawn(Oid sequence) {
    Relation relation = relation_open(sequence, AccessShareLock);
    Buffer buffer = ReadBuffer(relation, 0);
    LockBuffer(buffer, BUFFER_LOCK_SHARE);
    Page page = BufferGetPage(buffer);
    auto *header = reinterpret_cast<HeapTupleHeader>(
        PageGetItem(page, PageGetItemId(page, FirstOffsetNumber)));
    auto *data =
        reinterpret_cast<Form_pg_sequence_data>(reinterpret_cast<char *>(header) + header->t_hoff);
    const int64_t drawn = data->is_called ? data->last_value : data->last_value - 1;
    UnlockReleaseBuffer(buffer);
    relation_close(relation, AccessShareLock);
    return drawn;
}

} // namespace once

extern "C" {

// Statement trigger on once.lane, once.slot and once.topic.
PG_FUNCTION_INFO_V1(once_config_changed);
PGDLLEXPORT Datum once_config_changed(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        if (!CALLED_AS_TRIGGER(fcinfo))
            throw pg::Failure{ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                              "once.config_changed is a trigger"};
        auto *data = reinterpret_cast<TriggerData *>(fcinfo->context);
        pg::call([&] { CacheInvalidateRelcache(data->tg_relation); });
        return PointerGetDatum(nullptr);
    });
}

} // extern "C"
