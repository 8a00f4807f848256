// What once.machine_set asks of guarded tables before it removes states. Whoever may create a
// trigger chooses those tables, and to plan a SELECT runs code of their owners: functions in index
// expressions, policies. Our path is not theirs, and our rights must not be. So rows are read past
// the planner, where no code of anybody's runs; only a foreign table is asked by a statement, with
// its owner's rights. The tables are locked (machine_lock).
#include "pg/array.hpp"
#include "pg/memory.hpp"
#include "pg/owner.hpp"
#include "pg/row.hpp"
#include "pg/spi.hpp"

extern "C" {
#include <access/table.h>
#include <access/tableam.h>
#include <catalog/pg_inherits.h>
#include <catalog/pg_type.h>
#include <executor/spi.h>
#include <utils/builtins.h>
#include <utils/guc.h>
#include <utils/lsyscache.h>
#include <utils/memutils.h>
#include <utils/snapmgr.h>
}

namespace once {
namespace {

constexpr pg::Column kAnswer[] = {{"total", INT8OID}, {"stranded", TEXTOID}};

// Rows by state, as far as one asks for it. Server world, as all that follows.
struct Tally {
    pg::Elements states;
    int64 total;
    bool *met; // by state
};

void count(Tally &tally, std::string_view state, int64 rows) {
    for (int i = 0; i < tally.states.count; ++i) {
        const text *wanted = DatumGetTextPP(tally.states.value[i]);
        if (state != std::string_view(VARDATA_ANY(wanted), VARSIZE_ANY_EXHDR(wanted)))
            continue;
        tally.total += rows;
        tally.met[i] = true;
    }
}

// As once.guard reads it: what the type writes out, of a char(n) without what fills it.
struct StateColumn {
    AttrNumber number;
    bool padded;
    FmgrInfo output;
};

StateColumn state_column(Relation table, const char *name) {
    StateColumn column{};
    column.number = get_attnum(RelationGetRelid(table), name);
    if (column.number <= 0)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                        errmsg("column \"%s\" of relation \"%s\" does not exist", name,
                               RelationGetRelationName(table))));
    const Oid type =
        getBaseType(TupleDescAttr(RelationGetDescr(table), column.number - 1)->atttypid);
    column.padded = type == BPCHAROID;
    Oid output;
    bool is_varlena;
    getTypeOutputInfo(type, &output, &is_varlena);
    fmgr_info(output, &column.output);
    return column;
}

void count_rows(Oid relation, const char *name, Tally &tally) {
    Relation table = table_open(relation, NoLock);
    StateColumn column = state_column(table, name);
    MemoryContext row =
        AllocSetContextCreate(CurrentMemoryContext, "once guarded row", ALLOCSET_SMALL_SIZES);
    Snapshot snapshot = RegisterSnapshot(pg::newest_snapshot());
    TupleTableSlot *slot = table_slot_create(table, nullptr);
    TableScanDesc scan = table_beginscan_strat(table, snapshot, 0, nullptr, true, false);
    while (table_scan_getnextslot(scan, ForwardScanDirection, slot)) {
        CHECK_FOR_INTERRUPTS();
        bool null;
        const Datum value = slot_getattr(slot, column.number, &null);
        if (null)
            continue;
        MemoryContext caller = MemoryContextSwitchTo(row);
        std::string_view state = OutputFunctionCall(&column.output, value);
        if (column.padded)
            state = state.substr(0, state.find_last_not_of(' ') + 1);
        count(tally, state, 1);
        MemoryContextSwitchTo(caller);
        MemoryContextReset(row);
    }
    table_endscan(scan);
    ExecDropSingleTupleTableSlot(slot);
    UnregisterSnapshot(snapshot);
    MemoryContextDelete(row);
    table_close(table, NoLock);
}

char *foreign_question(Oid relation, const char *column) {
    return psprintf(
        "SELECT state, pg_catalog.count(*) FROM (SELECT pg_catalog.rtrim(pg_catalog.concat(%s)) "
        "AS state FROM %s) AS rows GROUP BY state",
        quote_identifier(column),
        quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
                                   get_rel_name(relation)));
}

void count_foreign_rows(Oid relation, const char *name, Tally &tally) {
    if (SPI_execute(foreign_question(relation, name), true, 0) != SPI_OK_SELECT)
        elog(ERROR, "could not read a guarded table");
    for (uint64 i = 0; i < SPI_processed; ++i) {
        HeapTuple row = SPI_tuptable->vals[i];
        bool null;
        const char *state = SPI_getvalue(row, SPI_tuptable->tupdesc, 1);
        if (state)
            count(tally, state, DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &null)));
    }
}

void ask_foreign(Oid relation, const char *name, Tally &tally) {
    // What the owner's code sets ends with it: our search_path must be what it was.
    const int settings = pg::call([] { return NewGUCNestLevel(); });
    {
        const pg::OwnerScope owner(relation, SECURITY_RESTRICTED_OPERATION);
        const pg::Spi spi;
        pg::call([&] { count_foreign_rows(relation, name, tally); });
    }
    pg::call([&] { AtEOXact_GUC(false, settings); });
}

void ask(Oid relation, const char *name, Tally &tally) {
    List *tables = pg::call([&] { return find_all_inheritors(relation, NoLock, nullptr); });
    for (int i = 0; i < list_length(tables); ++i) {
        const Oid table = list_nth_oid(tables, i);
        const char kind = pg::call([&] { return get_rel_relkind(table); });
        if (kind == RELKIND_RELATION)
            pg::call([&] { count_rows(table, name, tally); });
        else if (kind == RELKIND_FOREIGN_TABLE)
            ask_foreign(table, name, tally);
    }
}

Datum names_of(const Tally &tally) {
    StringInfoData names;
    initStringInfo(&names);
    for (int i = 0; i < tally.states.count; ++i)
        if (tally.met[i])
            appendStringInfo(&names, "%s%s", names.len ? ", " : "",
                             TextDatumGetCString(tally.states.value[i]));
    return CStringGetTextDatum(names.data);
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_guarded_states);
PGDLLEXPORT Datum once_guarded_states(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        once::Tally tally{pg::elements_of(fcinfo, 2, "states", TEXTOID), 0, nullptr};
        tally.met = static_cast<bool *>(
            pg::call([&] { return palloc0(static_cast<Size>(tally.states.count) + 1); }));
        const Oid table = pg::call([&] { return pg::require_relation(PG_GETARG_OID(0)); });
        once::ask(table, NameStr(*PG_GETARG_NAME(1)), tally);
        pg::ResultRow answer(fcinfo, once::kAnswer);
        answer.set(0, Int64GetDatum(tally.total));
        if (tally.total > 0)
            answer.set(1, pg::call([&] { return once::names_of(tally); }));
        return answer.datum();
    });
}

} // extern "C"
