// A definition that loses states must not change under who moves an entity or writes a guarded row.
// once.transition holds the machine's lock, shared; a guard's writer holds its table. machine_set
// takes all of these against them, and never makes others queue behind it: it stands in line for a
// moment only, gives back what it got, and tries again later.
#include "machines/machine_lock.hpp"

#include "arguments.hpp"
#include "storage/advisory_lock.hpp"
#include "pg/array.hpp"
#include "pg/attempt.hpp"

extern "C" {
#include <catalog/pg_class.h>
#include <catalog/pg_inherits.h>
#include <catalog/pg_type.h>
#include <miscadmin.h>
#include <storage/latch.h>
#include <storage/lmgr.h>
#include <storage/proc.h>
#include <utils/builtins.h>
#include <utils/guc.h>
#include <utils/inval.h>
#include <utils/lsyscache.h>
#include <utils/timestamp.h>
#include <utils/wait_event.h>
}

namespace once {
namespace {

// So long others may have to wait behind us, so long they go on meanwhile.
constexpr const char *kInLine = "50ms";
constexpr long kPauseMs = 100;
// After this long somebody's transaction is taken for one that does not end.
constexpr long kPatienceMs = 60000;

LOCKTAG definition_tag(std::string_view machine) {
    return lock_tag(LockSpace::machine, machine);
}

// Children too: they are written by themselves. A table that is gone is nobody's any more.
void lock_against_writers(Oid table) {
    LockRelationOid(table, ShareRowExclusiveLock);
    const char kind = get_rel_relkind(table);
    if (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE)
        list_free(find_all_inheritors(table, ShareRowExclusiveLock, nullptr));
    else
        UnlockRelationOid(table, ShareRowExclusiveLock);
}

bool try_all(const LOCKTAG &tag, const pg::Elements &tables) {
    return pg::attempt(ERRCODE_LOCK_NOT_AVAILABLE, [&] {
        (void)LockAcquire(&tag, ExclusiveLock, false, false);
        for (int i = 0; i < tables.count; ++i)
            lock_against_writers(DatumGetObjectId(tables.value[i]));
    });
}

void pause() {
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kPauseMs,
                    PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
}

void lock_for_removal(std::string_view machine, const pg::Elements &tables) {
    const LOCKTAG tag = definition_tag(machine);
    const long patience = LockTimeout > 0 ? std::min<long>(LockTimeout, kPatienceMs) : kPatienceMs;
    const TimestampTz deadline =
        TimestampTzPlusMilliseconds(GetCurrentTimestamp(), static_cast<int64>(patience));
    const int settings = pg::call([] {
        const int level = NewGUCNestLevel();
        (void)set_config_option("lock_timeout", kInLine, PGC_USERSET, PGC_S_SESSION,
                                GUC_ACTION_SAVE, true, 0, false);
        return level;
    });
    bool locked = try_all(tag, tables);
    while (!locked && GetCurrentTimestamp() < deadline) {
        pg::call([] { pause(); });
        locked = try_all(tag, tables);
    }
    pg::call([&] { AtEOXact_GUC(true, settings); });
    if (!locked)
        throw pg::Failure{ERRCODE_LOCK_NOT_AVAILABLE,
                          "could not remove states of state machine \"" + std::string(machine) +
                              "\" in time",
                          "A transaction that moved its entities, or wrote a table that it guards, "
                          "has not ended.",
                          "Try again when that transaction has ended."};
}

} // namespace

void hold_definition(std::string_view machine) {
    const LOCKTAG tag = definition_tag(machine);
    pg::call([&] {
        (void)LockAcquire(&tag, ShareLock, false, false);
        AcceptInvalidationMessages(); // the lock of a relation would have done so
    });
}

} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_machine_lock);
PGDLLEXPORT Datum once_machine_lock(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const auto machine = once::name_argument(fcinfo, 0, "state machine");
        const auto tables = pg::elements_of(fcinfo, 1, "tables", OIDOID);
        once::lock_for_removal(machine, tables);
        PG_RETURN_VOID();
    });
}

} // extern "C"
