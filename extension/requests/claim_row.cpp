#include "requests/claim_row.hpp"

#include "digest/message_id.hpp"
#include "storage/advisory_lock.hpp"
#include "storage/direct_write.hpp"
#include "pg/columns.hpp"
#include "pg/compat.hpp"
#include "pg/memory.hpp"

extern "C" {
#include <access/genam.h>
#include <access/heapam.h>
#include <access/heaptoast.h>
#include <access/skey.h>
#include <access/table.h>
#include <catalog/index.h>
#include <catalog/indexing.h>
#include <catalog/pg_type.h>
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

namespace once {
namespace {

// In the order of ClaimColumn.
constexpr pg::Column kColumns[] = {
    {"owner", INT8OID},
    {"claimed_at", TIMESTAMPTZOID},
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
    {"checkpoint", JSONBOID},
};
static_assert(sizeof kColumns / sizeof kColumns[0] == kClaimColumns);

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

[[noreturn]] void digests_meet(const ClaimKey &key) {
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
                    errmsg("the digest of scope \"%s\" is that of another scope",
                           pnstrdup(key.scope.data(), key.scope.size()))));
    pg_unreachable();
}

ClaimRecord find_in(Oid table, const ClaimKey &key, Snapshot snapshot) {
    ClaimRecord record;
    Relation heap = table_open(table, AccessShareLock);
    // Asked for each time: what a restore puts into a free table must be found, too.
    if (RelationGetNumberOfBlocks(heap) == 0) {
        table_close(heap, AccessShareLock);
        return record;
    }
    const pg::ColumnMap columns = pg::columns_of(heap, kColumns, pg::Use::read);
    ScanKeyData keys[2];
    ScanKeyInit(&keys[0], columns.number[kOwner], BTEqualStrategyNumber, F_INT8EQ,
                Int64GetDatum(key.owner));
    ScanKeyInit(&keys[1], columns.number[kKey], BTEqualStrategyNumber, F_TEXTEQ,
                text_datum(key.key));
    SysScanDesc scan = systable_beginscan(heap, pg::primary_key_of(heap), true, snapshot, 2, keys);
    HeapTuple found = systable_getnext(scan);
    if (HeapTupleIsValid(found))
        record.take(heap, found);
    systable_endscan(scan);
    table_close(heap, AccessShareLock);
    if (record.found() && pg::bytes_of(record.value[kScope]) != key.scope)
        digests_meet(key);
    return record;
}

ClaimRecord find_uncommitted(Oid table, const ClaimKey &key, TransactionId *busy) {
    SnapshotData dirty;
    InitDirtySnapshot(dirty);
    ClaimRecord record = find_in(table, key, &dirty);
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
ClaimRecord find_last_written(const ClaimKey &key) {
    ClaimRecord record;
    if (!OidIsValid(last_written.heap) || !TransactionIdIsCurrentTransactionId(last_written.xid))
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
    Datum value[2] = {record.value[kOwner], record.value[kKey]};
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

// Takes the row out of an old generation. If it had expired, the sweep may have truncated it away
// since it was found: so it is looked for again, now that the lock keeps the table as it is.
void leave_generation(const ClaimRecord &record) {
    Relation heap = table_open(record.table, RowExclusiveLock);
    const ClaimKey key{pg::bytes_of(record.value[kScope]), pg::bytes_of(record.value[kKey]),
                       DatumGetInt64(record.value[kOwner])};
    TransactionId busy;
    const ClaimRecord present = find_uncommitted(record.table, key, &busy);
    if (present.found())
        CatalogTupleDelete(heap, &present.tuple->t_self);
    table_close(heap, NoLock);
}

// How long a claim is known at least after it was last written: its generation may close right
// then, and is given up a day after what the class says (once.rings).
constexpr int64 kKeptDays[kClasses] = {1, 7, 31, 92, 366, INT64CONST(1000000)};

Oid open_table(const ClaimRings &rings, Class one) {
    return ring_table(claim_ring(one), rings.open[static_cast<int>(one)]);
}

bool lies_in(const ClaimRecord &record, Class one) {
    for (int slot = 0; record.found() && slot < kRingSlots; ++slot)
        if (ring_table(claim_ring(one), slot) == record.table)
            return true;
    return false;
}

Oid table_for(const Scope &scope, const ClaimRings &rings, const ClaimRecord &record,
              TimestampTz now) {
    const int64 needed = expires_at(scope, record) - now;
    const auto keeps = [&](Class one) {
        return (kKeptDays[static_cast<int>(one)] + 1) * USECS_PER_DAY >= needed;
    };
    Class chosen = rings.home;
    for (int i = 0; i < kClasses && !keeps(chosen); ++i) {
        const Class other = static_cast<Class>(i);
        if (rings.open[i] != 0 && (!rings.uncommitted || lies_in(record, other)))
            chosen = other;
    }
    return open_table(rings, chosen);
}

// The open generation of the scope's class first: that is where nearly every key is.
template <typename Look> ClaimRecord first_found(const ClaimRings &rings, Look look) {
    ClaimRecord record;
    const auto look_into = [&](Class one) {
        const int64 open = rings.open[static_cast<int>(one)];
        for (int64 serial = open; serial > open - kRingSlots && !record.found(); --serial)
            record = look(ring_table(claim_ring(one), serial));
    };
    look_into(rings.home);
    for (int i = 0; i < kClasses && !record.found(); ++i)
        if (rings.open[i] != 0 && static_cast<Class>(i) != rings.home)
            look_into(static_cast<Class>(i));
    return record;
}

} // namespace

int64 scope_owner(std::string_view scope) {
    return owner_of("scope", scope);
}

// Out-of-line values must be fetched under the lock: afterwards the sweep may truncate them away.
void ClaimRecord::take(Relation heap, HeapTuple row) {
    tuple = HeapTupleHasExternal(row) ? toast_flatten_tuple(row, RelationGetDescr(heap))
                                      : heap_copytuple(row);
    tuple->t_self = row->t_self;
    table = RelationGetRelid(heap);
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

ClaimRings claim_rings(const Scope &scope, Snapshot snapshot) {
    ClaimRings rings{scope.home, scope.uncommitted};
    for (int i = 0; i < kClasses; ++i)
        if (const Class one = static_cast<Class>(i); scope.used(one))
            rings.open[i] = ring_state(claim_ring(one), snapshot).open;
    return rings;
}

ClaimRecord find_claim(const ClaimRings &rings, const ClaimKey &key, TransactionId *busy) {
    *busy = InvalidTransactionId;
    if (ClaimRecord record = find_last_written(key); record.found())
        return record;
    return first_found(rings, [&](Oid table) { return find_uncommitted(table, key, busy); });
}

ClaimRecord find_recent_claim(const ClaimRings &rings, const ClaimKey &key, TransactionId *busy) {
    *busy = InvalidTransactionId;
    return find_uncommitted(open_table(rings, rings.home), key, busy);
}

ClaimRecord find_claim_shown(const ClaimRings &rings, const ClaimKey &key, Snapshot snapshot) {
    return first_found(rings, [&](Oid table) { return find_in(table, key, snapshot); });
}

void wait_for_claim(TransactionId busy) {
    XactLockTableWait(busy, nullptr, nullptr, XLTW_None);
}

void write_claim(const Scope &scope, const ClaimRings &rings, ClaimRecord &record,
                 TimestampTz now) {
    const Oid table = table_for(scope, rings, record, now);
    const bool moves = record.found() && record.table != table;
    if (moves)
        leave_generation(record);
    Relation heap = table_open(table, RowExclusiveLock);
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
