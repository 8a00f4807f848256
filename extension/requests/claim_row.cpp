#include "requests/claim_row.hpp"

#include "storage/advisory_lock.hpp"
#include "storage/direct_write.hpp"
#include "pg/columns.hpp"
#include "pg/compat.hpp"
#include "pg/memory.hpp"
#include "pg/newest_snapshot.hpp"

extern "C" {
#include <access/genam.h>
#include <access/heapam.h>
#include <access/heaptoast.h>
#include <access/skey.h>
#include <access/table.h>
#include <catalog/index.h>
#include <catalog/indexing.h>
#include <common/hashfn.h>
#include <executor/tuptable.h>
#include <storage/bufmgr.h>
#include <storage/latch.h>
#include <storage/lmgr.h>
#include <storage/proc.h>
#include <utils/fmgroids.h>
#include <utils/rel.h>
#include <utils/snapmgr.h>
}

#include <algorithm>
#include <iterator>

namespace once {
namespace {

// In the order of ClaimColumn.
constexpr pg::Column kColumns[] = {{"claimed_at", TIMESTAMPTZOID},
                                   {"lease_until", TIMESTAMPTZOID},
                                   {"settled_at", TIMESTAMPTZOID},
                                   {"keep", INT8OID},
                                   {"token", UUIDOID},
                                   {"attempt", INT4OID},
                                   {"status", INT4OID},
                                   {"state", CHAROID},
                                   {"key", TEXTOID},
                                   {"scope", TEXTOID},
                                   {"fingerprint", BYTEAOID},
                                   {"fields", BYTEAOID},
                                   {"response", JSONBOID},
                                   {"body", BYTEAOID},
                                   {"error", JSONBOID},
                                   {"checkpoint", JSONBOID}};
static_assert(std::size(kColumns) == kClaimColumns);

// Different keys may share a lock; then they wait for each other for the length of a call.
LOCKTAG key_tag(const ClaimKey &key, LockClass lock_class) {
    const auto bytes = [](std::string_view text) {
        return reinterpret_cast<const unsigned char *>(text.data());
    };
    const uint64 seed =
        hash_bytes_extended(bytes(key.scope), static_cast<int>(key.scope.size()), 0);
    const uint64 hash = hash_bytes_extended(bytes(key.key), static_cast<int>(key.key.size()), seed);
    return lock_tag(lock_class, static_cast<uint32>(hash >> 32), static_cast<uint32>(hash));
}

Datum text_datum(std::string_view text) {
    return PointerGetDatum(cstring_to_text_with_len(text.data(), static_cast<int>(text.size())));
}

ClaimRecord find_in(const Scope &scope, int generation, const ClaimKey &key, Snapshot snapshot) {
    ClaimRecord record;
    record.generation = generation;
    Relation heap = table_open(scope.heap[generation], AccessShareLock);
    if (generation != scope.generation && RelationGetNumberOfBlocks(heap) == 0) {
        scope.empty[generation] = true;
        table_close(heap, AccessShareLock);
        return record;
    }
    ScanKeyData keys[2];
    const pg::ColumnMap map = pg::columns_of(heap, kColumns, pg::Use::read);
    ScanKeyInit(&keys[0], map.number[kKey], BTEqualStrategyNumber, F_TEXTEQ, text_datum(key.key));
    ScanKeyInit(&keys[1], map.number[kScope], BTEqualStrategyNumber, F_TEXTEQ,
                text_datum(key.scope));
    SysScanDesc scan = systable_beginscan(heap, pg::primary_key_of(heap), true, snapshot, 2, keys);
    HeapTuple found = systable_getnext(scan);
    if (HeapTupleIsValid(found))
        record.take(heap, found);
    systable_endscan(scan);
    table_close(heap, AccessShareLock);
    return record;
}

ClaimRecord find_uncommitted(const Scope &scope, int generation, const ClaimKey &key,
                             TransactionId *busy) {
    SnapshotData dirty;
    InitDirtySnapshot(dirty);
    ClaimRecord record = find_in(scope, generation, key, &dirty);
    if (record.found())
        *busy = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
    return record;
}

// Where this session last wrote a row. What the same transaction does next to the key (complete
// after claim) finds it there without the index.
struct LastWritten {
    TransactionId xid = InvalidTransactionId; // of the subtransaction
    Oid heap = InvalidOid;
    Oid file = InvalidOid; // another one once the transaction itself has truncated the table
    ItemPointerData place;
};
LastWritten last_written;

// The row at that place, if it is the key's and written by the running transaction. Such a row
// nobody else can change, and there is no other one of its key: whoever comes later waits for us.
// Written under a savepoint that was rolled back it is not ours any more, and the lock that kept
// the sweep from the table is gone.
ClaimRecord find_last_written(const Scope &scope, const ClaimKey &key) {
    ClaimRecord record;
    record.generation = scope.generation;
    if (last_written.heap != scope.heap[scope.generation] ||
        !TransactionIdIsCurrentTransactionId(last_written.xid))
        return record;
    Relation heap = table_open(last_written.heap, NoLock); // locked since we wrote
    SnapshotData dirty;
    InitDirtySnapshot(dirty);
    HeapTupleData row{};
    row.t_self = last_written.place;
    Buffer buffer = InvalidBuffer;
    if (last_written.file == heap->rd_rel->relfilenode &&
        pg::fetch_row(heap, &dirty, &row, &buffer)) {
        record.take(heap, &row);
        ReleaseBuffer(buffer);
        if (!record.is_ours() || pg::bytes_of(record.value[kKey]) != key.key ||
            pg::bytes_of(record.value[kScope]) != key.scope)
            record.tuple = nullptr;
    }
    table_close(heap, NoLock);
    return record;
}

// The primary key has no expressions to evaluate, nothing that a btree would ask of an IndexInfo.
// It is the only index of a claim table, nearly always.
void insert_into_indexes(Relation heap, HeapTuple row, ClaimRecord &record) {
    const Oid primary_key = pg::primary_key_of(heap);
    Relation index = index_open(primary_key, RowExclusiveLock);
    Datum value[2] = {record.value[kKey], record.value[kScope]};
    bool null[2] = {};
    (void)index_insert(index, value, null, &row->t_self, heap, UNIQUE_CHECK_YES, false,
                       makeNode(IndexInfo));
    index_close(index, RowExclusiveLock);
    if (has_further_indexes(heap, 1)) {
        TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(heap), &TTSOpsHeapTuple);
        ExecStoreHeapTuple(row, slot, false);
        add_to_further_indexes(heap, {primary_key}, slot);
        ExecDropSingleTupleTableSlot(slot);
    }
}

// The present generation first: that is where nearly every key is.
template <typename Look> ClaimRecord first_found(const Scope &scope, Look look) {
    ClaimRecord record;
    for (int i = 0; i < kGenerations && !record.found(); ++i)
        record = look((scope.generation + kGenerations - i) % kGenerations);
    return record;
}

// Takes the row out of an old generation. If it had expired, the sweep may have truncated it away
// since it was found: so it is looked for again, now that the lock keeps the table as it is.
void leave_generation(const Scope &scope, const ClaimRecord &record) {
    Relation heap = table_open(scope.heap[record.generation], RowExclusiveLock);
    const ClaimKey key{pg::bytes_of(record.value[kScope]), pg::bytes_of(record.value[kKey])};
    TransactionId busy;
    const ClaimRecord present = find_uncommitted(scope, record.generation, key, &busy);
    if (present.found())
        CatalogTupleDelete(heap, &present.tuple->t_self);
    table_close(heap, NoLock);
}

} // namespace

// Out-of-line values must be fetched under the lock: afterwards the sweep may truncate them away.
void ClaimRecord::take(Relation heap, HeapTuple row) {
    tuple = HeapTupleHasExternal(row) ? toast_flatten_tuple(row, RelationGetDescr(heap))
                                      : heap_copytuple(row);
    tuple->t_self = row->t_self;
    pg::read_row(tuple, RelationGetDescr(heap), pg::columns_of(heap, kColumns, pg::Use::read),
                 value, null);
}

bool ClaimRecord::has_token(const pg_uuid_t &token) const {
    return !null[kToken] && memcmp(DatumGetUUIDP(value[kToken])->data, token.data, UUID_LEN) == 0;
}

bool ClaimRecord::is_ours() const {
    return TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
}

TimestampTz expires_at(const Scope &scope, const ClaimRecord &record) {
    switch (record.state()) {
    case ClaimState::claimed:
        return record.time(kLeaseUntil) + scope.keep;
    case ClaimState::failed:
        return record.time(kSettledAt) + scope.keep_failed;
    case ClaimState::completed:
        if (!record.null[kOwnKeep])
            return record.time(kSettledAt) +
                   std::min<int64>(scope.keep, DatumGetInt64(record.value[kOwnKeep]));
        [[fallthrough]];
    case ClaimState::released:
        break;
    }
    return record.time(kSettledAt) + scope.keep;
}

void read_expiry_columns(HeapTuple tuple, Relation heap, ClaimRecord &record) {
    const pg::ColumnMap map = pg::columns_of(heap, kColumns, pg::Use::read);
    for (ClaimColumn column : {kLeaseUntil, kSettledAt, kOwnKeep, kState})
        record.value[column] =
            pg::read_column(tuple, RelationGetDescr(heap), map, column, &record.null[column]);
}

ClaimRecord find_claim(const Scope &scope, const ClaimKey &key, TransactionId *busy) {
    *busy = InvalidTransactionId;
    if (ClaimRecord record = find_last_written(scope, key); record.found())
        return record;
    return first_found(scope, [&](int generation) {
        return scope.empty[generation] ? ClaimRecord()
                                       : find_uncommitted(scope, generation, key, busy);
    });
}

ClaimRecord find_recent_claim(const Scope &scope, const ClaimKey &key, TransactionId *busy) {
    *busy = InvalidTransactionId;
    return find_uncommitted(scope, scope.generation, key, busy);
}

ClaimRecord find_committed_claim(const Scope &scope, const ClaimKey &key) {
    Snapshot snapshot = RegisterSnapshot(pg::newest_snapshot());
    ClaimRecord record = first_found(
        scope, [&](int generation) { return find_in(scope, generation, key, snapshot); });
    UnregisterSnapshot(snapshot);
    return record;
}

void wait_for_claim(TransactionId busy) {
    XactLockTableWait(busy, nullptr, nullptr, XLTW_None);
}

void lock_for_claims(const Scope &scope) {
    LockRelationOid(scope.heap[scope.generation], RowExclusiveLock);
}

void write_claim(const Scope &scope, ClaimRecord &record) {
    const bool moves = record.found() && record.generation != scope.generation;
    if (moves)
        leave_generation(scope, record);
    Relation heap = table_open(scope.heap[scope.generation], RowExclusiveLock);
    refuse_triggers(heap);
    HeapTuple written =
        pg::form_row(RelationGetDescr(heap), pg::columns_of(heap, kColumns, pg::Use::write),
                     record.value, record.null);
    bool indexed = true;
    if (record.found() && !moves) {
        TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(heap), &TTSOpsHeapTuple);
        ExecStoreHeapTuple(written, slot, false);
        indexed = pg::update_row(heap, &record.tuple->t_self, slot, InvalidSnapshot);
        written->t_self = slot->tts_tid;
        ExecDropSingleTupleTableSlot(slot);
    } else {
        heap_insert(heap, written, GetCurrentCommandId(true), 0, nullptr);
    }
    if (indexed)
        insert_into_indexes(heap, written, record);
    last_written = {GetCurrentTransactionId(), RelationGetRelid(heap), heap->rd_rel->relfilenode,
                    written->t_self};
    table_close(heap, NoLock);
    // What the same statement does next (complete after claim) must find this version.
    CommandCounterIncrement();
}

KeyLock::KeyLock(const ClaimKey &key) : tag_(key_tag(key, LockClass::claim_key)) {}

bool KeyLock::try_acquire() {
    return LockAcquire(&tag_, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

void KeyLock::acquire() {
    (void)LockAcquire(&tag_, ExclusiveLock, false, false);
}

void KeyLock::release() {
    LockRelease(&tag_, ExclusiveLock, false);
}

void register_waiter(const ClaimKey &key) {
    const LOCKTAG tag = key_tag(key, LockClass::claim_waiter);
    (void)LockAcquire(&tag, ShareLock, false, false);
}

void unregister_waiter(const ClaimKey &key) {
    const LOCKTAG tag = key_tag(key, LockClass::claim_waiter);
    LockRelease(&tag, ShareLock, false);
}

// The waiter looks, sees our uncommitted row and waits for our transaction: the lock manager wakes
// it at commit.
void wake_waiters(const ClaimKey &key) {
    const LOCKTAG tag = key_tag(key, LockClass::claim_waiter);
    int count = 0;
    VirtualTransactionId *waiters = GetLockConflicts(&tag, ExclusiveLock, &count);
    for (int i = 0; i < count; ++i)
        if (PGPROC *process = pg::process_of(waiters[i]))
            SetLatch(&process->procLatch);
    pfree(waiters);
}

} // namespace once
