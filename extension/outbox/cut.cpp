// once.cut: the end of a batch, a snapshot all of which is durable.
#include "errors.hpp"
#include "outbox/lanes.hpp"
#include "pg/compat.hpp"
#include "pg/row.hpp"

#include <cstring>

extern "C" {
#include <access/subtrans.h>
#include <access/transam.h>
#include <access/xlog.h>
#include <access/xlog_internal.h>
#include <postmaster/interrupt.h>
#include <replication/walsender.h>
#include <replication/syncrep.h>
#include <replication/walsender_private.h>
#include <storage/lwlock.h>
#include <utils/fmgroids.h>
#include <utils/pg_lsn.h>
#include <utils/snapmgr.h>
#include <utils/xid8.h>
}

namespace once {
namespace {

// More than can have an id and no record in WAL yet: a backend has a few such ids, for as long as
// it waits for a row.
constexpr uint64_t kNamedTail = 1000;

bool is_subtransaction(FullTransactionId xid) {
    return TransactionIdIsValid(SubTransGetParent(XidFromFullTransactionId(xid)));
}

// pg_snapshot of this moment, whatever the isolation level, that names every transaction which has
// an id and is not seen. PostgreSQL's own ends behind the last transaction that finished: what
// began after that and runs is beyond its end, like all that is to come. But such a one may have
// drawn its numbers before now, and a reader that goes on from a number must know whom to ask about
// smaller ones. Both snapshots see the same. Subtransactions stand in no event and are left out,
// there may be millions; all but the last, whose ids a crash may give again, to transactions that
// have events. Within pg::call.
Datum fresh_snapshot() {
    PushActiveSnapshot(GetLatestSnapshot());
    const Datum snapshot = OidFunctionCall0(F_PG_CURRENT_SNAPSHOT);
    FullTransactionId xid =
        DatumGetFullTransactionId(OidFunctionCall1(F_PG_SNAPSHOT_XMAX, snapshot));
    const FullTransactionId next = ReadNextFullTransactionId();
    if (FullTransactionIdFollowsOrEquals(xid, next)) {
        PopActiveSnapshot();
        return snapshot;
    }
    StringInfoData named;
    initStringInfo(&named);
    const char *text = OidOutputFunctionCall(F_PG_SNAPSHOT_OUT, snapshot); // xmin:xmax:xip,…
    const char *colon = strchr(text, ':'), *running = strchr(colon + 1, ':') + 1;
    appendBinaryStringInfo(&named, text, static_cast<int>(colon - text));
    appendStringInfo(&named, ":" UINT64_FORMAT ":%s", U64FromFullTransactionId(next), running);
    for (bool first = *running == '\0'; FullTransactionIdPrecedes(xid, next);
         FullTransactionIdAdvance(&xid)) {
        const uint64_t to_end = U64FromFullTransactionId(next) - U64FromFullTransactionId(xid);
        if (to_end > kNamedTail && is_subtransaction(xid))
            continue;
        appendStringInfo(&named, first ? UINT64_FORMAT : "," UINT64_FORMAT,
                         U64FromFullTransactionId(xid));
        first = false;
    }
    PopActiveSnapshot();
    return OidInputFunctionCall(F_PG_SNAPSHOT_IN, named.data, InvalidOid, -1);
}

// The end of the last record in WAL. When a record ends exactly on a page boundary the insert
// position already stands behind the header of the next page, which nobody has written: flushing up
// to there fails on a quiet server.
XLogRecPtr end_of_wal() {
    const XLogRecPtr end = GetXLogInsertRecPtr();
    if (XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
        return end - SizeOfXLogLongPHD;
    if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD)
        return end - SizeOfXLogShortPHD;
    return end;
}

bool standbys_have(XLogRecPtr lsn) {
    LWLockAcquire(SyncRepLock, LW_SHARED);
    const bool have = WalSndCtl->lsn[SYNC_REP_WAIT_FLUSH] >= lsn;
    LWLockRelease(SyncRepLock);
    return have;
}

void give_up_wait() {
    ereport(ERROR,
            (errcode(ERRCODE_QUERY_CANCELED), errmsg("canceling the wait for synchronous standbys"),
             errdetail("What they do not have yet is not shipped.")));
}

// Commits wait for a standby once the checkpointer has read the setting, up to a checkpoint later
// than everybody else: until then pg_stat_replication calls it synchronous and nobody waits. What
// is shipped in that time would be lost when it is promoted.
void wait_for_checkpointer(XLogRecPtr lsn) {
    const bool named = SyncRepStandbyNames != nullptr && SyncRepStandbyNames[0] != '\0';
    while (named && !pg::synchronous_standbys() && !standbys_have(lsn)) {
        if (ConfigReloadPending) // perhaps nobody is named any more; the next statement knows
            give_up_wait();
        CHECK_FOR_INTERRUPTS();
        pg_usleep(1000);
    }
}

// The server ends a cancelled wait with a warning and goes on, as the commit is done by then.
// Nothing is done here: what the standbys do not have must not be shipped.
void wait_for_standbys(XLogRecPtr lsn) {
    if (synchronous_commit != SYNCHRONOUS_COMMIT_REMOTE_FLUSH)
        elog(ERROR, "once.cut needs synchronous_commit = on");
    wait_for_checkpointer(lsn);
    HOLD_INTERRUPTS();
    SyncRepWaitForLSN(lsn, true);
    RESUME_INTERRUPTS();
    CHECK_FOR_INTERRUPTS();
    if (pg::synchronous_standbys() && !standbys_have(lsn))
        give_up_wait();
}

constexpr pg::Column kCutColumns[] = {
    {"snapshot", PG_SNAPSHOTOID}, {"lsn", PG_LSNOID}, {"timeline", INT4OID}, {"seq", INT8OID}};

struct Cut {
    int64_t seq;
    Datum snapshot;
    XLogRecPtr lsn;
};

Cut cut(Oid sequence) {
    Cut made{};
    made.seq = last_drawn(
        sequence); // before the snapshot: whoever draws later may still be seen, never the reverse
    made.snapshot = fresh_snapshot();
    made.lsn = end_of_wal();
    XLogFlush(made.lsn);
    wait_for_standbys(made.lsn);
    return made;
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_cut);
PGDLLEXPORT Datum once_cut(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        pg::call([] { PreventCommandDuringRecovery("once.cut()"); });
        const once::Lane &lane = once::lane_at(once::lanes(), PG_ARGISNULL(0), PG_GETARG_INT32(0));
        const Oid sequence = lane.sequence;
        const once::Cut made = pg::call([&] { return once::cut(sequence); });
        const Datum values[] = {made.snapshot, LSNGetDatum(made.lsn),
                                Int32GetDatum(static_cast<int>(pg::write_timeline())),
                                Int64GetDatum(made.seq)};
        return pg::row(fcinfo, once::kCutColumns, values);
    });
}

} // extern "C"
