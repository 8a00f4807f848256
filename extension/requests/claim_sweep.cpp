// A generation in which everything has expired is truncated whole. Waits for nobody: what is busy
// is left for the next time.
#include "requests/claim_row.hpp"
#include "pg/memory.hpp"
#include "pg/spi.hpp"
#include "requests/scope.hpp"

extern "C" {
#include <access/heapam.h>
#include <access/table.h>
#include <access/tableam.h>
#include <storage/lmgr.h>
#include <utils/rel.h>
#include <utils/snapmgr.h>
#include <utils/timestamp.h>
}

namespace once {
namespace {

constexpr int kTries = 100; // of 1 ms each, against readers that hold the table for microseconds

// The newest rows stand at the end: read backwards, one that is still known is found at once.
bool all_expired(const Scope &scope, Oid relation) {
    Relation heap = table_open(relation, NoLock);
    Snapshot snapshot = RegisterSnapshot(pg::newest_snapshot());
    TableScanDesc scan = table_beginscan_strat(heap, snapshot, 0, nullptr, true, false);
    const TimestampTz now = GetCurrentTimestamp();
    bool expired = true;
    while (HeapTuple tuple = heap_getnext(scan, BackwardScanDirection)) {
        ClaimRecord record;
        read_expiry_columns(tuple, heap, record);
        expired = expires_at(scope, record) <= now;
        if (!expired)
            break;
        CHECK_FOR_INTERRUPTS();
    }
    table_endscan(scan);
    UnregisterSnapshot(snapshot);
    table_close(heap, NoLock);
    return expired;
}

// Holds the lock that truncation needs when it returns true, and none of its own otherwise.
bool lock_expired(const Scope &scope, Oid relation) {
    LockRelationOid(relation, AccessShareLock);
    const bool worthwhile = all_expired(scope, relation);
    UnlockRelationOid(relation, AccessShareLock);
    // Against writers, who hold theirs until they end: from here on nothing comes in and nothing is
    // uncommitted.
    if (!worthwhile || !ConditionalLockRelationOid(relation, ShareLock))
        return false;
    bool locked = false;
    if (all_expired(scope, relation)) {
        for (int i = 0; i < kTries && !locked; ++i) {
            locked = ConditionalLockRelationOid(relation, AccessExclusiveLock);
            if (!locked)
                pg_usleep(1000);
            CHECK_FOR_INTERRUPTS();
        }
    }
    if (!locked)
        UnlockRelationOid(relation, ShareLock);
    return locked;
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_claim_truncate);
PGDLLEXPORT Datum once_claim_truncate(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const int generation = PG_GETARG_INT32(1);
        const auto scope = once::scope_of(pg::bytes_of(PG_GETARG_DATUM(2)));
        if (generation < 0 || generation >= once::kGenerations)
            throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "no such generation"};
        const Oid relation = scope->heap[static_cast<size_t>(generation)];
        if (!pg::call([&] { return once::lock_expired(*scope, relation); }))
            PG_RETURN_BOOL(false);
        const std::string statement = "TRUNCATE once.claim_" + std::to_string(PG_GETARG_INT32(0)) +
                                      "_" + std::to_string(generation);
        pg::Spi spi;
        pg::call([&] {
            if (SPI_execute(statement.c_str(), false, 0) != SPI_OK_UTILITY)
                elog(ERROR, "could not truncate a generation");
        });
        PG_RETURN_BOOL(true);
    });
}

} // extern "C"
