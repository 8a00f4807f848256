// once.wait: looks for new work at short intervals. NOTIFY would cost every commit of every
// publisher.
#include "errors.hpp"
#include "outbox/lanes.hpp"
#include "pg/columns.hpp"
#include "wire/snapshot.hpp"

#include <algorithm>

extern "C" {
#include <access/genam.h>
#include <access/htup_details.h>
#include <access/skey.h>
#include <access/stratnum.h>
#include <access/table.h>
#include <access/transam.h>
#include <pgstat.h>
#include <storage/latch.h>
#include <utils/fmgroids.h>
#include <utils/rel.h>
#include <utils/snapmgr.h>
#include <utils/timestamp.h>
#include <utils/xid8.h>
}

namespace once {
namespace {

constexpr long kShortestPauseMs = 1, kLongestPauseMs = 5;
constexpr pg::Column kXid[] = {{"xid", XID8OID}};

// Within pg::call. First row of the index from `strategy xid` on, in the order of xids: its xid, or
// 0 if none. `snapshot` decides which rows count; SnapshotAny: all that are still stored.
uint64_t first_xid(Relation table, Relation index, Snapshot snapshot, StrategyNumber strategy,
                   RegProcedure compare, uint64_t xid) {
    const pg::ColumnMap map = pg::columns_of(RelationGetDescr(table), kXid, "an event table");
    ScanKeyData key;
    ScanKeyInit(&key, map.number[0], strategy, compare,
                FullTransactionIdGetDatum(FullTransactionIdFromU64(xid)));
    SysScanDesc scan = systable_beginscan_ordered(table, index, snapshot, 1, &key);
    HeapTuple tuple = systable_getnext_ordered(scan, ForwardScanDirection);
    uint64_t found = 0;
    if (HeapTupleIsValid(tuple)) {
        bool null;
        found = U64FromFullTransactionId(DatumGetFullTransactionId(
            pg::read_column(tuple, RelationGetDescr(table), map, 0, &null)));
    }
    systable_endscan_ordered(scan);
    return found;
}

bool has_visible(Relation table, Relation index, Snapshot snapshot, uint64_t xid) {
    return first_xid(table, index, snapshot, BTEqualStrategyNumber, F_XID8EQ, xid) != 0;
}

// Whether the transaction had ended when the snapshot was taken.
bool ended(Snapshot snapshot, uint64_t xid) {
    const auto low = static_cast<TransactionId>(xid);
    if (TransactionIdFollowsOrEquals(low, snapshot->xmax))
        return false;
    if (TransactionIdPrecedes(low, snapshot->xmin))
        return true;
    for (uint32 i = 0; i < snapshot->xcnt; ++i)
        if (snapshot->xip[i] == low)
            return false;
    return true;
}

// Transactions that ended without leaving a row: rolled back, or only their savepoints were. Kept
// for the session, so that millions of dead rows are gone through once and not at every look.
struct Barren {
    Oid table;
    uint64_t xid;
    bool operator==(const Barren &) const = default;
};
constexpr size_t kMaxBarren = 256;
Barren barren[kMaxBarren];
size_t next_barren = 0;

bool has_work(Relation table, Relation index, Snapshot snapshot, uint64_t xid) {
    const Barren known = {RelationGetRelid(table), xid};
    if (!ended(snapshot, xid) ||
        std::find(barren, barren + kMaxBarren, known) != barren + kMaxBarren)
        return false;
    if (has_visible(table, index, snapshot, xid))
        return true;
    barren[next_barren++ % kMaxBarren] = known;
    return false;
}

// Goes from one transaction to the next through the index: one that is still open or rolled back
// may have millions of rows in it, which must not be read at every look.
bool new_in_child(Oid table_id, Oid index_id, Snapshot snapshot, uint64_t xmax, const uint64_t *xip,
                  size_t running) {
    Relation table = table_open(table_id, AccessShareLock);
    Relation index = index_open(index_id, AccessShareLock);
    bool found = false;
    for (size_t i = 0; i < running && !found; ++i)
        found = has_work(table, index, snapshot, xip[i]);
    uint64_t xid = xmax;
    while (!found && (xid = first_xid(table, index, SnapshotAny, BTGreaterEqualStrategyNumber,
                                      F_XID8GE, xid)) != 0) {
        found = has_work(table, index, snapshot, xid);
        ++xid;
    }
    index_close(index, AccessShareLock);
    table_close(table, AccessShareLock);
    return found;
}

bool new_work(int lane, const wire::Snapshot &after, Snapshot snapshot) {
    for (int64_t k = 0;; ++k) {
        Lanes &known = lanes();
        const Lane &at = lane_at(known, false, lane);
        if (k >= static_cast<int64_t>(at.children.size()))
            return false;
        const Child child = child_for(known, lane, k * at.generation_rows);
        const uint64_t *xip = after.xip.data();
        const size_t running = after.xip.size();
        if (pg::call([&] {
                return new_in_child(child.table, child.by_xid, snapshot, after.xmax, xip, running);
            }))
            return true;
    }
}

void pause(long ms) {
    pg::call([&] {
        (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
                        PG_WAIT_EXTENSION);
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
    });
}

bool wait(int lane, const wire::Snapshot &after, int64_t timeout_ms) {
    const TimestampTz begin = GetCurrentTimestamp();
    uint64_t looked_at = 0; // the server's count of ended transactions at our last look
    for (;;) {
        uint64_t completions = 0;
        Snapshot snapshot = pg::call([&] {
            Snapshot latest = GetLatestSnapshot();
            completions = latest->snapXactCompletionCount; // a registered copy has lost it
            return RegisterSnapshot(latest);
        });
        const bool found = completions != looked_at && new_work(lane, after, snapshot);
        pg::call([&] { UnregisterSnapshot(snapshot); });
        looked_at = completions;
        const int64_t waited_ms = (GetCurrentTimestamp() - begin) / 1000;
        if (found || waited_ms >= timeout_ms)
            return found;
        pause(std::clamp(static_cast<long>(waited_ms / 50), kShortestPauseMs, kLongestPauseMs));
    }
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_wait);
PGDLLEXPORT Datum once_wait(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        (void)once::lane_at(once::lanes(), PG_ARGISNULL(0), PG_GETARG_INT32(0));
        if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
            throw pg::Failure{ERRCODE_NULL_VALUE_NOT_ALLOWED,
                              "snapshot and timeout must not be null"};
        const int timeout_ms = PG_GETARG_INT32(2);
        if (timeout_ms < 0)
            throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "timeout must not be negative"};
        const char *text =
            pg::call([&] { return OidOutputFunctionCall(F_PG_SNAPSHOT_OUT, PG_GETARG_DATUM(1)); });
        const auto after = once::wire::parse_snapshot(text);
        if (!after)
            throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "invalid snapshot"};
        PG_RETURN_BOOL(once::wait(PG_GETARG_INT32(0), *after, timeout_ms));
    });
}

} // extern "C"
