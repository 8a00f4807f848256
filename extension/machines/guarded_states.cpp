// What once.machine_set asks of guarded tables before it removes states. Whoever may create a
// trigger chooses those tables, and a SELECT from a table runs code of its owner: functions in the
// expressions of its indexes, in views and policies. machine_set runs as our owner, so the question
// is put with the table owner's rights, as VACUUM and REFRESH do.
#include "pg/memory.hpp"
#include "pg/owner.hpp"
#include "pg/row.hpp"
#include "pg/spi.hpp"

extern "C" {
#include <catalog/pg_inherits.h>
#include <catalog/pg_type.h>
#include <executor/spi.h>
#include <storage/lmgr.h>
#include <utils/builtins.h>
#include <utils/guc.h>
#include <utils/lsyscache.h>
}

namespace once {
namespace {

// Against writers, until the transaction ends; children too, which are written by themselves.
// False when the table is gone or has become something else.
bool lock_against_writers(Oid relation) {
    LockRelationOid(relation, ShareRowExclusiveLock);
    const char kind = get_rel_relkind(relation);
    if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
        return false;
    list_free(find_all_inheritors(relation, ShareRowExclusiveLock, nullptr));
    return true;
}

// The state as once.guard reads it: as the type writes it out, of a char(n) without what fills it.
const char *state_of(Oid relation, const char *column) {
    const Oid type = get_atttype(relation, get_attnum(relation, column));
    const char *name = quote_identifier(column);
    // A column that is not there is for the statement to refuse.
    return OidIsValid(type) && getBaseType(type) == BPCHAROID
               ? psprintf("(%s)::pg_catalog.text", name)
               : psprintf("pg_catalog.concat(%s)", name);
}

char *question(Oid relation, const char *column) {
    return psprintf("SELECT pg_catalog.count(*), pg_catalog.string_agg(DISTINCT state, ', ') FROM "
                    "(SELECT %s AS state FROM %s) AS rows "
                    "WHERE state OPERATOR(pg_catalog.=) ANY ($1)",
                    state_of(relation, column),
                    quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
                                               get_rel_name(relation)));
}

constexpr pg::Column kAnswer[] = {{"total", INT8OID}, {"stranded", TEXTOID}};

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_guarded_states);
PGDLLEXPORT Datum once_guarded_states(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const Oid relation = PG_GETARG_OID(0);
        Datum answer[2] = {Int64GetDatum(0), 0};
        bool nulls[2] = {false, true};
        if (!pg::call([&] { return once::lock_against_writers(relation); }))
            return pg::row(fcinfo, once::kAnswer, answer, nulls);
        // What the owner's code sets ends with it: our search_path must be what it was.
        const int settings = pg::call([] { return NewGUCNestLevel(); });
        {
            const pg::OwnerScope owner(relation, SECURITY_RESTRICTED_OPERATION);
            const pg::Spi spi;
            pg::call([&] {
                Oid type = TEXTARRAYOID;
                Datum states = PG_GETARG_DATUM(2);
                if (SPI_execute_with_args(once::question(relation, NameStr(*PG_GETARG_NAME(1))), 1,
                                          &type, &states, nullptr, false, 0) != SPI_OK_SELECT)
                    elog(ERROR, "could not read a guarded table");
                HeapTuple row = SPI_tuptable->vals[0];
                answer[0] = SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &nulls[0]);
                answer[1] = SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &nulls[1]);
                if (!nulls[1])
                    answer[1] = SPI_datumTransfer(answer[1], false, -1);
            });
        }
        pg::call([&] { AtEOXact_GUC(false, settings); });
        return pg::row(fcinfo, once::kAnswer, answer, nulls);
    });
}

} // extern "C"
