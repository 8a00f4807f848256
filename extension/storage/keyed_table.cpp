#include "storage/keyed_table.hpp"

#include "storage/direct_write.hpp"
#include "pg/compat.hpp"

extern "C" {
#include <access/stratnum.h>
#include <access/table.h>
#include <access/tableam.h>
#include <catalog/index.h>
#include <catalog/namespace.h>
#include <catalog/pg_collation.h>
#include <executor/executor.h>
#include <storage/bufmgr.h>
#include <storage/lmgr.h>
#include <utils/datum.h>
#include <utils/fmgroids.h>
#include <utils/inval.h>
#include <utils/lsyscache.h>
#include <utils/snapmgr.h>
}

namespace once {
namespace {

[[noreturn]] void wrong_primary_key(Relation heap) {
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("table \"once.%s\" has not the primary key it was made with",
                    RelationGetRelationName(heap)),
             errdetail("Rows are found by it, and of two with the same key one would not be."),
             errhint("Make it again over the same columns in the same order.")));
    pg_unreachable();
}

// The primary key's columns must be the shape's first ones.
Relation open_primary_key(const KeyedTable &table, LOCKMODE lock) {
    const Oid found = pg::primary_key_of(table.heap);
    if (!OidIsValid(found))
        wrong_primary_key(table.heap);
    const Relation index = index_open(found, lock);
    bool same = IndexRelationGetNumberOfKeyAttributes(index) == table.key_count;
    for (int i = 0; same && i < table.key_count; ++i)
        same = index->rd_index->indkey.values[i] == table.columns.number[i];
    if (!same)
        wrong_primary_key(table.heap);
    return index;
}

RegProcedure equality_of(Oid type) {
    switch (type) {
    case INT4OID:
        return F_INT4EQ;
    case INT8OID:
        return F_INT8EQ;
    case TEXTOID:
        return F_TEXTEQ;
    case UUIDOID:
        return F_UUID_EQ;
    default:
        elog(ERROR, "type %u cannot be a key", type);
    }
}

void begin(KeyedTable &table, Oid heap, const RowShape &shape, LOCKMODE lock, pg::Use use) {
    table = KeyedTable{};
    table.heap = table_open(heap, lock);
    table.columns = pg::columns_of(table.heap, shape.columns, use);
    table.key_count = shape.keys;
    table.index = open_primary_key(table, lock);
    table.found = table_slot_create(table.heap, nullptr);
    for (int i = 0; i < table.key_count; ++i) {
        const Oid type = TupleDescAttr(RelationGetDescr(table.index), i)->atttypid;
        ScanKeyInit(&table.keys[i], static_cast<AttrNumber>(i + 1), BTEqualStrategyNumber,
                    equality_of(type), 0);
        table.keys[i].sk_collation = table.index->rd_indcollation[i];
    }
}

void begin_writing(KeyedTable &table) {
    refuse_triggers(table.heap);
    table.more_indexes = has_further_indexes(table.heap, 1);
    table.fresh = MakeSingleTupleTableSlot(RelationGetDescr(table.heap), &TTSOpsVirtual);
    table.info = BuildIndexInfo(table.index);
}

void seek(KeyedTable &table, const Datum *key) {
    for (int i = 0; i < table.key_count; ++i)
        table.keys[i].sk_argument = key[i];
    index_rescan(table.scan, table.keys, table.key_count, nullptr, 0);
}

enum class Meeting { wait, give_way };

TransactionId writer_of_found(const KeyedTable &table) {
    return TransactionIdIsValid(table.dirty.xmin) ? table.dirty.xmin : table.dirty.xmax;
}

// Whether another row holds the key. `own` is our speculative row, which does not count.
// wait: until the other transaction has ended. give_way: two speculative rows met; only the older
// waits, so that of two exactly one takes its row back.
bool conflicts(KeyedTable &table, const Datum *key, ItemPointer own, Meeting meeting) {
    for (;;) {
        bool waited = false;
        seek(table, key);
        while (index_getnext_slot(table.scan, ForwardScanDirection, table.found)) {
            if (own && ItemPointerEquals(own, &table.found->tts_tid))
                continue;
            const TransactionId other = writer_of_found(table);
            if (!TransactionIdIsValid(other))
                return true;
            const uint32 token = table.dirty.speculativeToken;
            if (meeting == Meeting::give_way &&
                !(token && TransactionIdPrecedes(GetCurrentTransactionId(), other)))
                return true;
            ItemPointerData tid = table.found->tts_tid;
            // No buffer stays pinned while we wait.
            ExecClearTuple(table.found);
            index_rescan(table.scan, table.keys, table.key_count, nullptr, 0);
            if (token)
                SpeculativeInsertionWait(other, token);
            else
                XactLockTableWait(other, table.heap, &tid, XLTW_InsertIndex);
            waited = true;
            break;
        }
        if (!waited)
            return false;
    }
}

[[noreturn]] void serialization_failure() {
    ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                    errmsg("could not serialize access due to concurrent update")));
    pg_unreachable();
}

// A transaction that works with one snapshot cannot tell its caller "duplicate" of a row it does
// not see.
void check_visible(KeyedTable &table, Snapshot snapshot) {
    if (!IsolationUsesXactSnapshot() ||
        table_tuple_satisfies_snapshot(table.heap, table.found, snapshot))
        return;
    bool isnull;
    const Datum xmin = slot_getsysattr(table.found, MinTransactionIdAttributeNumber, &isnull);
    if (!TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin)))
        serialization_failure();
}

void store(KeyedTable &table, const Datum *row, const bool *nulls) {
    pg::store_row(table.fresh, table.columns, row, nulls);
}

bool insert_index_entry(KeyedTable &table, const Datum *row, IndexUniqueCheck check) {
    bool nulls[KeyedTable::kMostKeys] = {};
    return index_insert(table.index, const_cast<Datum *>(row), nulls, &table.fresh->tts_tid,
                        table.heap, check, false, table.info);
}

// True when the row stands; false when it was taken back because another one came first.
bool insert_speculatively(KeyedTable &table, const Datum *row, const bool *nulls) {
    store(table, row, nulls);
    const TransactionId xid = GetCurrentTransactionId();
    const uint32 token = SpeculativeInsertionLockAcquire(xid);
    table_tuple_insert_speculative(table.heap, table.fresh, GetCurrentCommandId(true), 0, nullptr,
                                   token);
    const bool unique = insert_index_entry(table, row, UNIQUE_CHECK_PARTIAL);
    const bool lost = !unique && conflicts(table, row, &table.fresh->tts_tid, Meeting::give_way);
    table_tuple_complete_speculative(table.heap, table.fresh, token, !lost);
    SpeculativeInsertionLockRelease(xid);
    if (!lost && table.more_indexes)
        add_to_further_indexes(table.heap, {RelationGetRelid(table.index)}, table.fresh);
    return !lost;
}

// Where rows that are changed again and again were last seen or written. While somebody holds an
// old snapshot no version of a row can be removed, and the index leads past all of them; a snapshot
// shows one, so if that is the one at the place there is nothing to look up.
struct Place {
    Oid heap = InvalidOid;
    ItemPointerData at;
};
constexpr uint32 kPlaces = 256; // keys that share one only drive each other out
Place places[kPlaces];

Place &place_of(const KeyedTable &table, const Datum *key) {
    uint32 hash = RelationGetRelid(table.heap);
    for (int i = 0; i < table.key_count; ++i) {
        const Form_pg_attribute column =
            TupleDescAttr(RelationGetDescr(table.heap), table.columns.number[i] - 1);
        hash = hash * 31 + datum_image_hash(key[i], column->attbyval, column->attlen);
    }
    return places[hash % kPlaces];
}

bool has_key(KeyedTable &table, const Datum *key) {
    for (int i = 0; i < table.key_count; ++i) {
        bool isnull;
        const Datum value = pg::read_column(table.found, table.columns, i, &isnull);
        if (!DatumGetBool(FunctionCall2Coll(&table.keys[i].sk_func, table.keys[i].sk_collation,
                                            value, key[i])))
            return false;
    }
    return true;
}

} // namespace

// The lock goes when the table is closed: who truncates it has first waited for every snapshot that
// leads here.
void open_for_lookup(KeyedTable &table, Oid heap, const RowShape &shape, Snapshot snapshot) {
    begin(table, heap, shape, AccessShareLock, pg::Use::read);
    table.release = AccessShareLock;
    table.scan = pg::begin_index_scan(table.heap, table.index, snapshot, table.key_count);
}

bool find(KeyedTable &table, const Datum *key) {
    seek(table, key);
    return index_getnext_slot(table.scan, ForwardScanDirection, table.found);
}

bool find_again(KeyedTable &table, const Datum *key) {
    Place &place = place_of(table, key);
    // Truncated since, it has no such block.
    if (place.heap == RelationGetRelid(table.heap) &&
        ItemPointerGetBlockNumber(&place.at) < RelationGetNumberOfBlocks(table.heap) &&
        table_tuple_fetch_row_version(table.heap, &place.at, table.scan->xs_snapshot,
                                      table.found) &&
        has_key(table, key))
        return true;
    const bool there = find(table, key);
    if (there)
        place = {RelationGetRelid(table.heap), table.found->tts_tid};
    return there;
}

void open_for_insert(KeyedTable &table, Oid heap, const RowShape &shape) {
    begin(table, heap, shape, RowExclusiveLock, pg::Use::write);
    InitDirtySnapshot(table.dirty);
    table.scan = pg::begin_index_scan(table.heap, table.index, &table.dirty, table.key_count);
    begin_writing(table);
}

Insertion insert(KeyedTable &table, const Datum *row, Snapshot snapshot, const bool *nulls) {
    for (;;) {
        CHECK_FOR_INTERRUPTS();
        if (conflicts(table, row, nullptr, Meeting::wait)) {
            check_visible(table, snapshot);
            ExecClearTuple(table.found);
            return Insertion::present;
        }
        if (insert_speculatively(table, row, nulls))
            return Insertion::done;
    }
}

TransactionId writer_of(KeyedTable &table, const Datum *key) {
    TransactionId writer = InvalidTransactionId;
    seek(table, key);
    while (!TransactionIdIsValid(writer) &&
           index_getnext_slot(table.scan, ForwardScanDirection, table.found))
        writer = writer_of_found(table);
    ExecClearTuple(table.found);
    return writer;
}

void open_for_update(KeyedTable &table, Oid heap, const RowShape &shape, Snapshot snapshot) {
    begin(table, heap, shape, RowExclusiveLock, pg::Use::write);
    table.scan = pg::begin_index_scan(table.heap, table.index, snapshot, table.key_count);
    begin_writing(table);
}

bool lock(KeyedTable &table, const Datum *key, Snapshot snapshot) {
    if (!find_again(table, key))
        return false;
    ItemPointerData tid = table.found->tts_tid;
    uint8 flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;
    if (!IsolationUsesXactSnapshot())
        flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
    TM_FailureData failure;
    const TM_Result result =
        table_tuple_lock(table.heap, &tid, snapshot, table.found, GetCurrentCommandId(false),
                         LockTupleNoKeyExclusive, LockWaitBlock, flags, &failure);
    switch (result) {
    case TM_Ok:
        return true;
    case TM_Updated:
        serialization_failure();
    case TM_Deleted:
        if (IsolationUsesXactSnapshot())
            serialization_failure();
        return false;
    default:
        elog(ERROR, "unexpected result %d of a row lock", result);
    }
}

void update(KeyedTable &table, const Datum *row, Snapshot snapshot, const bool *nulls) {
    ItemPointerData old = table.found->tts_tid;
    store(table, row, nulls);
    if (pg::update_row(table.heap, &old, table.fresh, snapshot)) {
        insert_index_entry(table, row, UNIQUE_CHECK_YES);
        if (table.more_indexes)
            add_to_further_indexes(table.heap, {RelationGetRelid(table.index)}, table.fresh);
    }
    place_of(table, row) = {RelationGetRelid(table.heap), table.fresh->tts_tid};
    CommandCounterIncrement();
}

Datum value_of(KeyedTable &table, int column, bool *isnull) {
    bool is_null;
    const Datum value = pg::read_column(table.found, table.columns, column, &is_null);
    if (isnull)
        *isnull = is_null;
    else if (is_null)
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("column %d of \"once.%s\" is null", table.columns.number[column],
                               RelationGetRelationName(table.heap))));
    return value;
}

void close(KeyedTable &table) {
    index_endscan(table.scan);
    ExecDropSingleTupleTableSlot(table.found);
    if (table.fresh)
        ExecDropSingleTupleTableSlot(table.fresh);
    index_close(table.index, table.release);
    table_close(table.heap, table.release);
}

} // namespace once
