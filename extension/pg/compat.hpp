// The only place that looks at PG_VERSION_NUM: what differs between PostgreSQL 14 and 18.
#pragma once

#include "pg/prelude.hpp"

extern "C" {
#include <storage/sinvaladt.h>
#include <storage/procarray.h>
#include <storage/proc.h>
#include <access/genam.h>
#include <access/heapam.h>
#include <access/tableam.h>
#include <storage/lock.h>
#include <access/xlog.h>
#include <replication/walsender.h>
#include <replication/walsender_private.h>
#include <utils/guc.h>
}

static_assert(PG_VERSION_NUM >= 140000, "pg_once needs PostgreSQL 14 or newer");

namespace pg {

// 15 renamed it and made unknown settings of the prefix an error.
inline void reserve_setting_prefix(const char *prefix) {
#if PG_VERSION_NUM >= 150000
    MarkGUCPrefixReserved(prefix);
#else
    EmitWarningsOnPlaceholders(prefix);
#endif
}

// 18 added a place for instrumentation.
inline IndexScanDesc begin_index_scan(Relation heap, Relation index, Snapshot snapshot, int keys) {
#if PG_VERSION_NUM >= 180000
    return index_beginscan(heap, index, snapshot, nullptr, keys, 0);
#else
    return index_beginscan(heap, index, snapshot, keys, 0);
#endif
}

// Whether this version of a row is the one that the snapshot shows; if so it stays pinned until
// ReleaseBuffer.
inline bool fetch_row(Relation heap, Snapshot snapshot, HeapTuple tuple, Buffer *buffer) {
#if PG_VERSION_NUM >= 150000
    return heap_fetch(heap, snapshot, tuple, buffer, false);
#else
    return heap_fetch(heap, snapshot, tuple, buffer);
#endif
}

// 16 tells more about which indexes need the new version; true: they do. The row must be locked by
// us.
inline bool update_row(Relation heap, ItemPointer tid, TupleTableSlot *slot, Snapshot snapshot) {
#if PG_VERSION_NUM >= 160000
    TU_UpdateIndexes indexes;
    simple_table_tuple_update(heap, tid, slot, snapshot, &indexes);
    return indexes == TU_All;
#else
    bool indexes;
    simple_table_tuple_update(heap, tid, slot, snapshot, &indexes);
    return indexes;
#endif
}

// 17 added a parameter.
inline bool lock_held_by_me(const LOCKTAG *tag, LOCKMODE mode) {
#if PG_VERSION_NUM >= 170000
    return LockHeldByMe(tag, mode, false);
#else
    return LockHeldByMe(tag, mode);
#endif
}

// The time line that WAL is written on. Not during recovery.
inline TimeLineID write_timeline() {
#if PG_VERSION_NUM >= 150000
    return GetWALInsertionTimeLine();
#else
    (void)RecoveryInProgress(); // sets it up in this session
    return ThisTimeLineID;
#endif
}

// Whether commits wait for synchronous standbys, as the walsenders see it. A minor release renamed
// the field.
inline bool synchronous_standbys() {
#ifdef SYNC_STANDBY_DEFINED
    return (WalSndCtl->sync_standbys_status & SYNC_STANDBY_DEFINED) != 0;
#else
    return WalSndCtl->sync_standbys_defined;
#endif
}

// The process behind a virtual transaction, nullptr when it is gone. 17 renamed backend ids to
// process numbers.
inline PGPROC *process_of(const VirtualTransactionId &transaction) {
#if PG_VERSION_NUM >= 170000
    return ProcNumberGetProc(transaction.procNumber);
#else
    return BackendIdGetProc(transaction.backendId);
#endif
}

} // namespace pg
