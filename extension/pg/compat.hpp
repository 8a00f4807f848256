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
#include <storage/bufmgr.h>
#include <storage/lock.h>
#include <access/rmgr.h>
#include <access/xlog.h>
#include <access/xloginsert.h>
#include <commands/sequence.h>
#if PG_VERSION_NUM >= 190000
#include <commands/sequence_xlog.h>
#endif
#include <executor/executor.h>
#include <nodes/nodeFuncs.h>
#include <replication/walsender.h>
#include <replication/walsender_private.h>
#include <utils/guc.h>
#include <utils/rangetypes.h>
#include <utils/rel.h>
#include <utils/typcache.h>
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

// Memory that a setting's value takes along. 16 has a context of its own for it. Null: there is
// none.
inline void *setting_memory(size_t size) {
#if PG_VERSION_NUM >= 160000
    return guc_malloc(LOG, size);
#else
    return malloc(size);
#endif
}

// The number of this session's transaction; 0 outside of one. 17 moved it.
inline LocalTransactionId local_transaction() {
#if PG_VERSION_NUM >= 170000
    return MyProc ? MyProc->vxid.lxid : InvalidLocalTransactionId;
#else
    return MyProc ? MyProc->lxid : InvalidLocalTransactionId;
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

// Entries of a new row in every index of its table; ERROR where a unique one has it already. 16
// added a parameter.
inline void insert_index_entries(ResultRelInfo *table, TupleTableSlot *slot, EState *executor) {
    if (table->ri_NumIndices == 0)
        return;
#if PG_VERSION_NUM >= 160000
    ExecInsertIndexTuples(table, slot, executor, false, false, nullptr, NIL, false);
#else
    ExecInsertIndexTuples(table, slot, executor, false, false, nullptr, NIL);
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

// 18 added a parameter.
inline Oid primary_key_of(Relation relation) {
#if PG_VERSION_NUM >= 180000
    return RelationGetPrimaryKeyIndex(relation, false);
#else
    return RelationGetPrimaryKeyIndex(relation);
#endif
}

// 16 added a place for soft errors.
inline RangeType *range_of(TypeCacheEntry *type, RangeBound *lower, RangeBound *upper) {
#if PG_VERSION_NUM >= 160000
    return make_range(type, lower, upper, false, nullptr);
#else
    return make_range(type, lower, upper, false);
#endif
}

// Writes the WAL record of a sequence's row as it stands in its buffer, which is locked and marked
// dirty. 16 renamed the field, 19 moved the record to a header of its own.
inline void log_sequence(Relation sequence, Buffer buffer, HeapTupleHeader row, uint32 size) {
    xl_seq_rec record;
    memset(&record, 0, sizeof record);
#if PG_VERSION_NUM >= 160000
    record.locator = sequence->rd_locator;
#else
    record.node = sequence->rd_node;
#endif
    XLogBeginInsert();
    XLogRegisterBuffer(0, buffer, REGBUF_WILL_INIT);
    XLogRegisterData(reinterpret_cast<char *>(&record), sizeof record);
    XLogRegisterData(reinterpret_cast<char *>(row), size);
    const XLogRecPtr end = XLogInsert(RM_SEQ_ID, XLOG_SEQ_LOG);
    PageSetLSN(BufferGetPage(buffer), end); // a macro that takes its argument twice
}

// 16 gave the walker a type. `walker` is bool (*)(Node *, void *).
template <typename Walker> bool walk_expression(Node *node, Walker walker, void *context) {
#if PG_VERSION_NUM >= 160000
    return expression_tree_walker(node, walker, context);
#else
    return expression_tree_walker(
        node, reinterpret_cast<bool (*)()>(reinterpret_cast<void *>(walker)), context);
#endif
}

// 15 brought MERGE.
inline bool is_merge(const Query *query) {
#if PG_VERSION_NUM >= 150000
    return query->commandType == CMD_MERGE;
#else
    return false;
#endif
}

// Walks through the actions of a MERGE; 17 keeps its condition apart from the others.
template <typename Walker> bool walk_merge(const Query *query, Walker walker, void *context) {
#if PG_VERSION_NUM >= 170000
    if (query->mergeJoinCondition && walker(query->mergeJoinCondition, context))
        return true;
#endif
#if PG_VERSION_NUM >= 150000
    return walker(reinterpret_cast<Node *>(query->mergeActionList), context);
#else
    return false;
#endif
}

// The call answers with a set of rows, put into result->setResult. 15 brought a function for it.
inline void answer_with_rows(FunctionCallInfo fcinfo) {
#if PG_VERSION_NUM >= 150000
    InitMaterializedSRF(fcinfo, 0);
#else
    auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
    if (!result || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("set-valued function called in context that cannot accept a set")));
    const MemoryContext caller = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
    TupleDesc shape;
    if (get_call_result_type(fcinfo, nullptr, &shape) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "return type must be a row type");
    const bool random = (result->allowedModes & SFRM_Materialize_Random) != 0;
    result->setResult = tuplestore_begin_heap(random, false, work_mem);
    result->setDesc = BlessTupleDesc(shape);
    result->returnMode = SFRM_Materialize;
    MemoryContextSwitchTo(caller);
#endif
}

// The timeline that WAL is written on. Not during recovery.
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
