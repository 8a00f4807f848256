#include "storage/ring.hpp"

#include "storage/keyed_table.hpp"
#include "storage/row_memo.hpp"
#include "pg/owner.hpp"
#include "pg/spi.hpp"

extern "C" {
#include <access/genam.h>
#include <access/table.h>
#include <catalog/pg_collation.h>
#include <storage/lmgr.h>
#include <utils/fmgroids.h>
#include <utils/lsyscache.h>
#include <utils/snapmgr.h>
#include <utils/timestamp.h>
}

#include <ctime>
#include <string_view>

namespace once {
namespace {

constexpr const char *kNames[kRings] = {
    "seen_day",    "seen_week",  "seen_month",    "seen_quarter",  "seen_year",  "seen_forever",
    "claim_day",   "claim_week", "claim_month",   "claim_quarter", "claim_year", "claim_forever",
    "publish_key", "token",      "machine_event", "ahead",
};

// once.ring, as sql/schema/generations/ring.sql has it.
constexpr pg::Column kRingColumns[] = {{"name", TEXTOID},    {"open", INT8OID},
                                       {"closing", BOOLOID}, {"oldest", INT8OID},
                                       {"gone", INT8OID},    {"horizon", TIMESTAMPTZOID}};
enum RingColumn { cName, cOpen, cClosing, cOldest, cGone, cHorizon };

struct Known {
    RowMemo memo;
    RingState state;
};
Known known[kRings];

Oid tables[kRings][kRingSlots];

// Only tags: the next lookup finds the table again, or that it is gone.
void forget(void *, Oid relation) noexcept {
    for (auto &ring : tables)
        for (Oid &table : ring)
            if (!OidIsValid(relation) || table == relation)
                table = InvalidOid;
}

std::string_view text_of(Datum value) {
    const text *packed = DatumGetTextPP(value);
    return {VARDATA_ANY(packed), static_cast<size_t>(VARSIZE_ANY_EXHDR(packed))};
}

struct RingRow {
    HeapTuple tuple;
    TupleDesc shape;
    const pg::ColumnMap *columns;

    Datum get(RingColumn column, bool *null) const {
        return pg::read_column(tuple, shape, *columns, column, null);
    }
    bool is(Ring ring) const {
        bool null;
        return text_of(get(cName, &null)) == kNames[static_cast<int>(ring)];
    }
    RingState state() const {
        bool null;
        RingState state;
        state.open = DatumGetInt64(get(cOpen, &null));
        state.closing = DatumGetBool(get(cClosing, &null));
        state.oldest = DatumGetInt64(get(cOldest, &null));
        state.gone = DatumGetInt64(get(cGone, &null));
        const Datum horizon = get(cHorizon, &null);
        state.forgot = !null;
        state.horizon = null ? 0 : DatumGetTimestampTz(horizon);
        return state;
    }
};

RingState read(Relation heap, const pg::ColumnMap &columns, Ring ring, Snapshot snapshot) {
    ScanKeyData key;
    ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_TEXTEQ,
                PointerGetDatum(cstring_to_text(kNames[static_cast<int>(ring)])));
    key.sk_attno = columns.number[cName];
    key.sk_collation = C_COLLATION_OID;
    Known fresh;
    const SysScanDesc scan =
        systable_beginscan(heap, pg::primary_key_of(heap), true, snapshot, 1, &key);
    if (HeapTuple tuple = systable_getnext(scan)) {
        fresh.memo = RowMemo::of(heap, tuple);
        fresh.state = RingRow{tuple, RelationGetDescr(heap), &columns}.state();
    }
    systable_endscan(scan);
    known[static_cast<int>(ring)] = fresh;
    return fresh.state;
}

} // namespace

// The table stays locked for reading until the transaction ends: the next call finds the lock.
RingState ring_state(Ring ring, Snapshot snapshot) {
    const Relation heap = table_open(known_table("ring"), AccessShareLock);
    const pg::ColumnMap columns = pg::columns_of(heap, kRingColumns, pg::Use::read);
    const Known &last = known[static_cast<int>(ring)];
    const auto same = [&](HeapTuple row) {
        return RingRow{row, RelationGetDescr(heap), &columns}.is(ring);
    };
    const RingState state = still_shown(last.memo, heap, snapshot, same)
                                ? last.state
                                : read(heap, columns, ring, snapshot);
    table_close(heap, NoLock);
    return state;
}

Oid ring_table(Ring ring, int slot) {
    pg::watch_relations(forget);
    Oid &table = tables[static_cast<int>(ring)][slot];
    if (!OidIsValid(table)) {
        char name[NAMEDATALEN];
        snprintf(name, sizeof name, "%s_%d", kNames[static_cast<int>(ring)], slot);
        table = table_named(name);
    }
    return table;
}

bool has_no_rows(Oid table) {
    const Relation heap = table_open(pg::require_relation(table), AccessShareLock);
    const bool none = RelationGetNumberOfBlocks(heap) == 0;
    table_close(heap, AccessShareLock);
    return none;
}

namespace {

// Looks for the moment in which nobody has the table. Whoever waits for a lock in a queue makes all
// who come later wait behind it: 100 ms there are 100 ms for every lookup.
constexpr int kTries = 100; // of 1 ms each: a lookup holds its lock for microseconds

bool lock_for_truncation(Oid table) {
    for (int i = 0; i < kTries; ++i) {
        CHECK_FOR_INTERRUPTS();
        if (ConditionalLockRelationOid(table, AccessExclusiveLock))
            return true;
        pg_usleep(1000);
    }
    return false;
}

// seen_week_2 and its like: what a ring is made of, and nothing else, is truncated whole.
bool is_generation(const char *name) {
    for (const char *ring : kNames) {
        const size_t length = strlen(ring);
        if (strncmp(name, ring, length) == 0 && name[length] == '_' && name[length + 1] >= '0' &&
            name[length + 1] <= '3' && name[length + 2] == '\0')
            return true;
    }
    return false;
}

const char *truncation_of(Oid table) {
    const char *name = get_rel_name(table);
    const char *schema = name ? get_namespace_name(get_rel_namespace(table)) : nullptr;
    if (!schema || strcmp(schema, "once") != 0 || !is_generation(name))
        ereport(ERROR, errcode(ERRCODE_WRONG_OBJECT_TYPE),
                errmsg("relation with OID %u is no generation of a ring", table));
    return psprintf("TRUNCATE ONLY %s", quote_qualified_identifier(schema, name));
}

} // namespace

bool closed_at(Ring ring, int64 serial, Snapshot snapshot, TimestampTz *when) {
    static constexpr pg::Column kColumns[] = {
        {"ring", TEXTOID}, {"serial", INT8OID}, {"closed_at", TIMESTAMPTZOID}};
    KeyedTable log;
    open_for_lookup(log, known_table("generation"), {kColumns, 2}, snapshot);
    const Datum key[] = {PointerGetDatum(cstring_to_text(kNames[static_cast<int>(ring)])),
                         Int64GetDatum(serial)};
    const bool found = find(log, key);
    if (found)
        *when = DatumGetTimestampTz(value_of(log, 2)) + kClockTolerance;
    close(log);
    return found;
}

} // namespace once

extern "C" {

// A clock that nobody sets: microseconds since some moment, another one after a restart of the
// machine.
PG_FUNCTION_INFO_V1(once_monotonic_us);
PGDLLEXPORT Datum once_monotonic_us(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        (void)fcinfo;
        timespec now{};
        if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
            throw pg::Failure{ERRCODE_SYSTEM_ERROR, "could not read the monotonic clock"};
        PG_RETURN_INT64(static_cast<int64>(now.tv_sec) * USECS_PER_SEC + now.tv_nsec / 1000);
    });
}

PG_FUNCTION_INFO_V1(once_ring_empty);
PGDLLEXPORT Datum once_ring_empty(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const Oid table = PG_GETARG_OID(0);
        return BoolGetDatum(pg::call([&] { return once::has_no_rows(table); }));
    });
}

PG_FUNCTION_INFO_V1(once_ring_truncate);
PGDLLEXPORT Datum once_ring_truncate(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const Oid table = PG_GETARG_OID(0);
        if (!pg::call([&] { return once::lock_for_truncation(table); }))
            PG_RETURN_BOOL(false);
        const pg::Spi spi;
        pg::call([&] {
            const char *statement = once::truncation_of(table);
            if (SPI_execute(statement, false, 0) != SPI_OK_UTILITY)
                elog(ERROR, "could not truncate a generation");
        });
        PG_RETURN_BOOL(true);
    });
}

} // extern "C"
