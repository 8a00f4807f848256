#include "inbox/consumer.hpp"

#include "arguments.hpp"
#include "errors.hpp"
#include "pg/array.hpp"
#include "pg/columns.hpp"
#include "pg/memory.hpp"
#include "settings.hpp"
#include "storage/known_table.hpp"
#include "storage/row_memo.hpp"

extern "C" {
#include <access/genam.h>
#include <access/table.h>
#include <catalog/pg_collation.h>
#include <utils/acl.h>
#include <utils/snapmgr.h>
#include <utils/fmgroids.h>
}

#include <string>
#include <unordered_map>

namespace once {
namespace {

// once.consumer_state, as sql/schema/inbox/consumer.sql has it.
constexpr pg::Column kColumns[] = {
    {"name", TEXTOID},           {"dropped", BOOLOID},    {"reject_older", BOOLOID},
    {"horizon", TIMESTAMPTZOID}, {"roles", TEXTARRAYOID}, {"classes", INT2ARRAYOID},
    {"since", INT8ARRAYOID},     {"until", INT8ARRAYOID},
};
enum Column { cName, cDropped, cRejectOlder, cHorizon, cRoles, cClasses, cSince, cUntil };

// Consumers that a session met last. Names come from callers: it must not collect them without end.
constexpr size_t kMostKnown = 1024;

struct Known {
    RowMemo memo;
    Consumer consumer;
};
std::unordered_map<std::string, Known> known;

std::string_view text_of(Datum value) {
    const text *packed = DatumGetTextPP(value);
    return {VARDATA_ANY(packed), static_cast<size_t>(VARSIZE_ANY_EXHDR(packed))};
}

struct Row {
    HeapTuple tuple;
    TupleDesc shape;
    const pg::ColumnMap *columns;

    Datum get(Column column, bool *null) const {
        return pg::read_column(tuple, shape, *columns, column, null);
    }
    bool is(std::string_view name) const {
        bool null;
        return text_of(get(cName, &null)) == name;
    }
};

// The data of an array without nulls that has `count` elements.
template <typename T> const T *elements(Datum datum, int count) {
    const ArrayType *array = DatumGetArrayTypeP(datum);
    if (ARR_NDIM(array) != 1 || ARR_HASNULL(array) || ARR_DIMS(array)[0] != count)
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("a row of table \"once.consumer_state\" is damaged")));
    return reinterpret_cast<const T *>(ARR_DATA_PTR(array));
}

Consumer consumer_in(const Row &row) {
    bool null;
    Consumer consumer;
    consumer.declared = !DatumGetBool(row.get(cDropped, &null));
    consumer.reject_older = DatumGetBool(row.get(cRejectOlder, &null));
    const Datum horizon = row.get(cHorizon, &null);
    consumer.has_horizon = !null;
    consumer.horizon = null ? 0 : DatumGetTimestampTz(horizon);
    (void)row.get(cRoles, &null);
    consumer.restricted = !null;

    const Datum classes = row.get(cClasses, &null);
    const ArrayType *array = DatumGetArrayTypeP(classes);
    const int count = ARR_NDIM(array) == 1 ? ARR_DIMS(array)[0] : 0;
    if (count < 1 || count > Consumer::kMostStays)
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("a row of table \"once.consumer_state\" is damaged")));
    const int16 *in = elements<int16>(classes, count);
    const int64 *since = elements<int64>(row.get(cSince, &null), count);
    const int64 *until = elements<int64>(row.get(cUntil, &null), count);
    consumer.stay_count = count;
    for (int i = 0; i < count; ++i)
        consumer.stays[i] = {static_cast<Class>(in[i]), since[i], until[i]};
    return consumer;
}

// The row by its name. The table stays locked for reading until the transaction ends: the next call
// finds the lock.
template <typename Take>
bool with_row(Relation heap, const pg::ColumnMap &columns, std::string_view name, Snapshot snapshot,
              Take &&take) {
    ScanKeyData key;
    ScanKeyInit(
        &key, columns.number[cName], BTEqualStrategyNumber, F_TEXTEQ,
        PointerGetDatum(cstring_to_text_with_len(name.data(), static_cast<int>(name.size()))));
    key.sk_collation = C_COLLATION_OID;
    const SysScanDesc scan =
        systable_beginscan(heap, pg::primary_key_of(heap), true, snapshot, 1, &key);
    const HeapTuple tuple = systable_getnext(scan);
    if (HeapTupleIsValid(tuple))
        take(Row{tuple, RelationGetDescr(heap), &columns});
    systable_endscan(scan);
    return HeapTupleIsValid(tuple);
}

// A copy for the session; C++ memory, so outside of pg::call.
void remember(std::string_view name, const Known &one) {
    if (known.size() >= kMostKnown)
        known.clear();
    known.insert_or_assign(std::string(name), one);
}

bool has_role(std::string_view name, Oid user, Snapshot snapshot) {
    if (superuser_arg(user))
        return true;
    const Relation heap = table_open(known_table("consumer_state"), AccessShareLock);
    const pg::ColumnMap columns = pg::columns_of(heap, kColumns, pg::Use::read);
    bool allowed = false;
    (void)with_row(heap, columns, name, snapshot, [&](const Row &row) {
        bool null;
        const Datum roles = row.get(cRoles, &null);
        if (null)
            allowed = true;
        Datum *names = nullptr;
        int count = 0;
        if (!null)
            deconstruct_array(DatumGetArrayTypeP(roles), TEXTOID, -1, false, TYPALIGN_INT, &names,
                              nullptr, &count);
        for (int i = 0; i < count && !allowed; ++i) {
            const Oid role = get_role_oid(TextDatumGetCString(names[i]), true);
            allowed = OidIsValid(role) && has_privs_of_role(user, role); // it may be dropped
        }
    });
    table_close(heap, NoLock);
    return allowed;
}

} // namespace

Consumer consumer_of(std::string_view name, Snapshot snapshot) {
    const auto last = known.find(std::string(name));
    Known fresh;
    const Known *remembered = last == known.end() ? nullptr : &last->second;
    const bool shown = pg::call([&] {
        const Relation heap = table_open(known_table("consumer_state"), AccessShareLock);
        const pg::ColumnMap columns = pg::columns_of(heap, kColumns, pg::Use::read);
        const auto same = [&](HeapTuple tuple) {
            return Row{tuple, RelationGetDescr(heap), &columns}.is(name);
        };
        const bool still = remembered && still_shown(remembered->memo, heap, snapshot, same);
        if (!still)
            (void)with_row(heap, columns, name, snapshot, [&](const Row &row) {
                fresh.memo = RowMemo::of(heap, row.tuple);
                fresh.consumer = consumer_in(row);
            });
        table_close(heap, NoLock);
        return still;
    });
    if (shown)
        return remembered->consumer;
    if (OidIsValid(fresh.memo.table))
        remember(name, fresh);
    return fresh.consumer;
}

void check_consumer(const Consumer &consumer, std::string_view name, Oid user, Snapshot snapshot) {
    if (!consumer.declared && settings::strict_consumers)
        throw pg::Failure{kInvalidConsumer,
                          "consumer \"" + std::string(name) + "\" is not declared",
                          "once.strict_consumers refuses consumers that nobody declared.",
                          "An administrator can declare it with once.consumer_set."};
    if (consumer.restricted && !pg::call([&] { return has_role(name, user, snapshot); }))
        throw pg::Failure{ERRCODE_INSUFFICIENT_PRIVILEGE,
                          "permission denied for consumer \"" + std::string(name) + "\"", "",
                          "An administrator can give it with once.consumer_grant."};
}

} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_consumer_check);
PGDLLEXPORT Datum once_consumer_check(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        once::require_argument(fcinfo, 0, "consumer");
        const std::string_view name = pg::bytes_of(PG_GETARG_DATUM(0));
        once::check_name(name, "consumer", once::kInvalidConsumer);
        const Snapshot snapshot = GetActiveSnapshot();
        once::check_consumer(once::consumer_of(name, snapshot), name, GetOuterUserId(), snapshot);
        PG_RETURN_VOID();
    });
}

} // extern "C"
