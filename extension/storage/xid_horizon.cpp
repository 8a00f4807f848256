// Computed from the process array: pg_stat_activity hides the xmin of other roles' sessions.
//
// How a state machine uses it (a switch is a committed change of a row that everybody reads with
// his snapshot):
//   1. commit the switch; mark = its xid
//   2. up_to(mark): nobody holds a snapshot that cannot see the switch, so nobody newly acts in the
//   old way
//   3. barrier = last_assigned(), read after 2: whoever acted in the old way and still runs has an
//   xid up to it
//   4. up_to(barrier): all of them have ended, and every snapshot sees what they did
// Step 2 alone is not enough: a transaction that acted in the old way under an old snapshot may
// have taken its xid after the switch and hold no snapshot between two statements.
#include "storage/xid_horizon.hpp"

#include "pg/boundary.hpp"

extern "C" {
#include <storage/lwlock.h>
#include <storage/proc.h>
#include <storage/procarray.h>
#include <storage/standby.h>
#include <utils/xid8.h>
}

namespace once::xid_horizon {
namespace {

// Exclusive: with a shared lock an imported snapshot could pass from a process not yet looked at to
// one already looked at. Vacuum and logical decoding never look into our tables with their xmin.
bool snapshots_after(TransactionId limit) {
    bool after = true;
    LWLockAcquire(ProcArrayLock, LW_EXCLUSIVE);
    for (uint32 i = 0; after && i < ProcGlobal->allProcCount; ++i) {
        const PGPROC *process = &ProcGlobal->allProcs[i];
        if (process->databaseId != MyDatabaseId ||
            (process->statusFlags & (PROC_IN_VACUUM | PROC_IN_LOGICAL_DECODING)) != 0)
            continue;
        const TransactionId xmin = process->xmin;
        after = !TransactionIdIsValid(xmin) || TransactionIdFollows(xmin, limit);
    }
    LWLockRelease(ProcArrayLock);
    return after;
}

// Prepared transactions are among the running ones. In all databases: a snapshot's xmin counts them
// anyway.
bool transactions_after(TransactionId limit) {
    const RunningTransactions running = GetRunningTransactionData(); // returns with both locks held
    const bool after = TransactionIdFollows(running->oldestRunningXid, limit);
    LWLockRelease(ProcArrayLock);
    LWLockRelease(XidGenLock);
    return after;
}

} // namespace

// Snapshots first: whoever holds an old one may still take an xid; once none is left, the xids are
// final.
bool up_to(FullTransactionId xid) {
    PreventCommandDuringRecovery("once.all_ended()");
    const FullTransactionId next = ReadNextFullTransactionId();
    if (FullTransactionIdFollowsOrEquals(xid, next))
        return false;
    // Nothing that runs is 2^31 behind: there 32 bits could not tell older from newer.
    if (U64FromFullTransactionId(next) - U64FromFullTransactionId(xid) >= uint64{1} << 31)
        return true;
    const TransactionId limit = XidFromFullTransactionId(xid);
    return snapshots_after(limit) && transactions_after(limit);
}

FullTransactionId last_assigned() {
    FullTransactionId xid = ReadNextFullTransactionId();
    FullTransactionIdRetreat(&xid);
    return xid;
}

} // namespace once::xid_horizon

extern "C" {

PG_FUNCTION_INFO_V1(once_all_ended);
PGDLLEXPORT Datum once_all_ended(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const FullTransactionId xid = PG_GETARG_FULLTRANSACTIONID(0);
        return BoolGetDatum(pg::call([&] { return once::xid_horizon::up_to(xid); }));
    });
}

PG_FUNCTION_INFO_V1(once_last_xid);
PGDLLEXPORT Datum once_last_xid(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        return FullTransactionIdGetDatum(pg::call([] {
            PreventCommandDuringRecovery("once.last_xid()");
            return once::xid_horizon::last_assigned();
        }));
    });
}

} // extern "C"
