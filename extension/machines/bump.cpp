// once.bump: optimistic locking on other people's tables, in one UPDATE.
//
// The statement runs under the caller's search_path, so that triggers, policies and functions of
// the table find what they find under a plain UPDATE. What the statement itself names is qualified
// instead: equality of the key is the one of the index that makes it unique (of citext, say, not of
// text), whatever operators stand first in the path.
#include "arguments.hpp"
#include "pg/columns.hpp"
#include "pg/compat.hpp"
#include "pg/memory.hpp"
#include "pg/row.hpp"
#include "pg/spi.hpp"

extern "C" {
#include <access/relation.h>
#include <access/stratnum.h>
#include <catalog/pg_am.h>
#include <catalog/pg_collation.h>
#include <catalog/pg_operator.h>
#include <catalog/pg_type.h>
#include <executor/spi.h>
#include <utils/builtins.h>
#include <utils/lsyscache.h>
#include <utils/syscache.h>
#include <utils/typcache.h>
}

#include <algorithm>

namespace once {
namespace {

// A row that comes to the expected version in between is tried again.
constexpr int kAttempts = 100;

constexpr pg::Column kAnswer[] = {{"verdict", pg::kEnum}, {"version", INT8OID}};

struct Target {
    Oid relation;
    const char *key;
    const char *version;
};

struct Equality {
    Oid operation = InvalidOid;
    Oid collation = InvalidOid; // of the index
};

// Server world, as everything up to `Statements`.
[[noreturn]] void no_column(const Target &target, const char *column) {
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                    errmsg("column \"%s\" of relation \"%s\" does not exist", column,
                           get_rel_name(target.relation))));
    pg_unreachable();
}

// How the index compares the column; none when the column is no key of it.
Equality equality_in(Oid index_oid, AttrNumber column, bool alone) {
    Equality equality;
    Relation index = index_open(index_oid, AccessShareLock);
    const Form_pg_index form = index->rd_index;
    const bool usable =
        form->indisunique && form->indisvalid && index->rd_rel->relam == BTREE_AM_OID;
    const int keys = IndexRelationGetNumberOfKeyAttributes(index);
    for (int i = 0; usable && i < keys && (keys == 1 || !alone); ++i)
        if (form->indkey.values[i] == column)
            equality = {get_opfamily_member(index->rd_opfamily[i], index->rd_opcintype[i],
                                            index->rd_opcintype[i], BTEqualStrategyNumber),
                        index->rd_indcollation[i]};
    index_close(index, AccessShareLock);
    return equality;
}

// The one of the primary key, else of an index that makes the column unique alone, else of one that
// it is a part of, else the type's own.
Equality equality_of(const Target &target, AttrNumber column) {
    Equality equality;
    Relation relation = relation_open(target.relation, AccessShareLock);
    List *indexes = relation->rd_rel->relhasindex ? RelationGetIndexList(relation) : NIL;
    if (const Oid primary = indexes ? pg::primary_key_of(relation) : InvalidOid;
        OidIsValid(primary))
        equality = equality_in(primary, column, true);
    for (bool alone : {true, false})
        for (int i = 0; i < list_length(indexes) && !OidIsValid(equality.operation); ++i)
            equality = equality_in(list_nth_oid(indexes, i), column, alone);
    list_free(indexes);
    relation_close(relation, AccessShareLock);
    if (OidIsValid(equality.operation))
        return equality;
    const Oid type = getBaseType(get_atttype(target.relation, column));
    equality.operation = lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
    if (!OidIsValid(equality.operation))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
                        errmsg("could not identify an equality operator for type %s",
                               format_type_be(type))));
    return equality;
}

const char *operator_name(Oid operation) {
    HeapTuple tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operation));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for operator %u", operation);
    const auto *form = reinterpret_cast<Form_pg_operator>(GETSTRUCT(tuple));
    char *name =
        psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
                 NameStr(form->oprname));
    ReleaseSysCache(tuple);
    return name;
}

const char *collate_clause(Oid collation, Oid of_column) {
    if (!OidIsValid(collation) || collation == of_column)
        return "";
    HeapTuple tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for collation %u", collation);
    const auto *form = reinterpret_cast<Form_pg_collation>(GETSTRUCT(tuple));
    char *clause =
        psprintf(" COLLATE %s", quote_qualified_identifier(get_namespace_name(form->collnamespace),
                                                           NameStr(form->collname)));
    ReleaseSysCache(tuple);
    return clause;
}

struct Statements {
    char *change; // $1 the key as text, $2 the version that is expected
    char *look;   // $1
};

Statements statements_of(const Target &target) {
    if (!get_rel_name(target.relation))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("relation with OID %u does not exist", target.relation)));
    const AttrNumber key = get_attnum(target.relation, target.key);
    if (key <= 0)
        no_column(target, target.key);
    if (get_attnum(target.relation, target.version) <= 0)
        no_column(target, target.version);
    Oid type, collation;
    int32 length;
    get_atttypetypmodcoll(target.relation, key, &type, &length, &collation);
    const Equality equality = equality_of(target, key);
    // Without its length: varchar(3) would cut 'abcd' to 'abc'.
    const char *matches = psprintf(
        "t.%s %s ($1)::%s%s", quote_identifier(target.key), operator_name(equality.operation),
        format_type_extended(type, -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY),
        collate_clause(equality.collation, collation));
    const char *relation = quote_qualified_identifier(
        get_namespace_name(get_rel_namespace(target.relation)), get_rel_name(target.relation));
    const char *version = quote_identifier(target.version);
    return {psprintf("UPDATE %1$s AS t SET %2$s = t.%2$s OPERATOR(pg_catalog.+) 1 WHERE %3$s AND "
                     "t.%2$s OPERATOR(pg_catalog.=) $2 RETURNING (t.%2$s)::pg_catalog.int8",
                     relation, version, matches),
            psprintf("SELECT (t.%2$s)::pg_catalog.int8 FROM %1$s AS t WHERE %3$s", relation,
                     version, matches)};
}

struct Found {
    uint64 rows;
    bool null;
    int64 version;
};

Found run(const char *statement, std::span<const Datum> values) {
    Oid types[] = {TEXTOID, INT8OID};
    const int code = SPI_execute_with_args(statement, static_cast<int>(values.size()), types,
                                           const_cast<Datum *>(values.data()), nullptr, false, 0);
    if (code < 0)
        elog(ERROR, "could not execute: %s", SPI_result_code_string(code));
    Found found{SPI_processed, true, 0};
    if (found.rows > 0 && SPI_tuptable)
        found.version = DatumGetInt64(
            SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &found.null));
    SPI_freetuptable(SPI_tuptable);
    return found;
}

struct Verdict {
    const char *label;
    Found row;
};

Verdict bump(const Target &target, Datum id, int64 expected) {
    const Statements statements = statements_of(target);
    const Datum values[] = {id, Int64GetDatum(expected)};
    for (int i = 0; i < kAttempts; ++i) {
        Found row = run(statements.change, values);
        if (row.rows > 1)
            ereport(ERROR, (errcode(ERRCODE_CARDINALITY_VIOLATION),
                            errmsg("column \"%s\" of relation \"%s\" is not unique", target.key,
                                   get_rel_name(target.relation))));
        if (row.rows == 1)
            return {"ok", row};
        row = run(statements.look, {values, 1});
        if (row.rows == 0)
            return {"missing", row};
        if (row.null)
            ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                            errmsg("column \"%s\" of relation \"%s\" is null", target.version,
                                   get_rel_name(target.relation))));
        if (row.version != expected)
            return {row.version > expected ? "stale" : "ahead", row};
    }
    ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                    errmsg("could not bump version: too many concurrent updates")));
    pg_unreachable();
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_bump);
PGDLLEXPORT Datum once_bump(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const char *const names[] = {"relation", "id", "expected", "key_column", "version_column"};
        for (int i = 0; i < 5; ++i)
            once::require_argument(fcinfo, i, names[i]);
        const once::Target target{PG_GETARG_OID(0), NameStr(*PG_GETARG_NAME(3)),
                                  NameStr(*PG_GETARG_NAME(4))};
        once::Verdict verdict;
        {
            const pg::Spi spi;
            verdict = pg::call(
                [&] { return once::bump(target, PG_GETARG_DATUM(1), PG_GETARG_INT64(2)); });
        }
        pg::ResultRow answer(fcinfo, once::kAnswer);
        answer.set_label(0, verdict.label);
        answer.set(1, Int64GetDatum(verdict.row.version), verdict.row.null);
        return answer.datum();
    });
}

} // extern "C"
