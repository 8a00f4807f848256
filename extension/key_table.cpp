#include "key_table.hpp"

#include "pg/compat.hpp"

extern "C" {
#include <access/stratnum.h>
#include <access/table.h>
#include <access/tableam.h>
#include <catalog/index.h>
#include <executor/executor.h>
#include <storage/lmgr.h>
#include <utils/snapmgr.h>
}

namespace once {
namespace {

void begin(KeyTable &table, Oid heap, Oid index, RegProcedure equal, LOCKMODE lock) {
    table = KeyTable{};
    table.heap = table_open(heap, lock);
    table.index = index_open(index, lock);
    table.found = table_slot_create(table.heap, nullptr);
    ScanKeyInit(&table.key, 1, BTEqualStrategyNumber, equal, 0);
}

enum class Meeting { wait, give_way };

// Whether another row holds the key. `own` is our speculative row, which does not count.
// wait: until the other transaction has ended. give_way: two speculative rows met; only the older waits, so that
// of two exactly one takes its row back.
bool conflicts(KeyTable &table, Datum key, ItemPointer own, Meeting meeting) {
    table.key.sk_argument = key;
    for (;;) {
        bool waited = false;
        index_rescan(table.scan, &table.key, 1, nullptr, 0);
        while (index_getnext_slot(table.scan, ForwardScanDirection, table.found)) {
            if (own && ItemPointerEquals(own, &table.found->tts_tid))
                continue;
            const TransactionId other =
                TransactionIdIsValid(table.dirty.xmin) ? table.dirty.xmin : table.dirty.xmax;
            if (!TransactionIdIsValid(other))
                return true;
            const uint32 token = table.dirty.speculativeToken;
            if (meeting == Meeting::give_way &&
                !(token && TransactionIdPrecedes(GetCurrentTransactionId(), other)))
                return true;
            ItemPointerData tid = table.found->tts_tid;
            // No buffer stays pinned while we wait.
            ExecClearTuple(table.found);
            index_rescan(table.scan, &table.key, 1, nullptr, 0);
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

// A transaction that works with one snapshot cannot tell its caller "duplicate" of a row it does not see.
void check_visible(KeyTable &table, Snapshot snapshot) {
    if (!IsolationUsesXactSnapshot() || table_tuple_satisfies_snapshot(table.heap, table.found, snapshot))
        return;
    bool isnull;
    const Datum xmin = slot_getsysattr(table.found, MinTransactionIdAttributeNumber, &isnull);
    if (TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin)))
        return;
    ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                    errmsg("could not serialize access due to concurrent update")));
}

// True when the row stands; false when it was taken back because another one came first.
bool insert_speculatively(KeyTable &table, Datum key) {
    bool isnull = false;
    ExecClearTuple(table.fresh);
    table.fresh->tts_values[0] = key;
    table.fresh->tts_isnull[0] = false;
    ExecStoreVirtualTuple(table.fresh);

    const TransactionId xid = GetCurrentTransactionId();
    const uint32 token = SpeculativeInsertionLockAcquire(xid);
    table_tuple_insert_speculative(table.heap, table.fresh, GetCurrentCommandId(true), 0, nullptr, token);
    const bool unique = index_insert(table.index, &key, &isnull, &table.fresh->tts_tid, table.heap,
                                     UNIQUE_CHECK_PARTIAL, false, table.info);
    const bool lost = !unique && conflicts(table, key, &table.fresh->tts_tid, Meeting::give_way);
    table_tuple_complete_speculative(table.heap, table.fresh, token, !lost);
    SpeculativeInsertionLockRelease(xid);
    return !lost;
}

} // namespace

void open_for_lookup(KeyTable &table, Oid heap, Oid index, RegProcedure equal, Snapshot snapshot) {
    begin(table, heap, index, equal, AccessShareLock);
    table.scan = pg::begin_index_scan(table.heap, table.index, snapshot, 1);
}

bool contains(KeyTable &table, Datum key) {
    table.key.sk_argument = key;
    index_rescan(table.scan, &table.key, 1, nullptr, 0);
    const bool found = index_getnext_slot(table.scan, ForwardScanDirection, table.found);
    ExecClearTuple(table.found);
    return found;
}

void open_for_insert(KeyTable &table, Oid heap, Oid index, RegProcedure equal) {
    begin(table, heap, index, equal, RowExclusiveLock);
    InitDirtySnapshot(table.dirty);
    table.scan = pg::begin_index_scan(table.heap, table.index, &table.dirty, 1);
    table.fresh = MakeSingleTupleTableSlot(RelationGetDescr(table.heap), &TTSOpsVirtual);
    table.info = BuildIndexInfo(table.index);
}

Insertion insert(KeyTable &table, Datum key, Snapshot snapshot) {
    for (;;) {
        CHECK_FOR_INTERRUPTS();
        if (conflicts(table, key, nullptr, Meeting::wait)) {
            check_visible(table, snapshot);
            ExecClearTuple(table.found);
            return Insertion::present;
        }
        if (insert_speculatively(table, key))
            return Insertion::done;
    }
}

void close(KeyTable &table) {
    const bool writing = table.fresh != nullptr;
    index_endscan(table.scan);
    ExecDropSingleTupleTableSlot(table.found);
    if (writing)
        ExecDropSingleTupleTableSlot(table.fresh);
    index_close(table.index, writing ? NoLock : AccessShareLock);
    table_close(table.heap, writing ? NoLock : AccessShareLock);
}

} // namespace once
