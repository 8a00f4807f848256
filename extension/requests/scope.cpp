#include "requests/scope.hpp"

#include "arguments.hpp"
#include "pg/array.hpp"
#include "pg/columns.hpp"
#include "pg/spi.hpp"
#include "storage/known_table.hpp"
#include "storage/row_memo.hpp"

#include <unordered_map>

extern "C" {
#include <access/genam.h>
#include <access/table.h>
#include <catalog/pg_collation.h>
#include <catalog/pg_type.h>
#include <datatype/timestamp.h>
#include <utils/acl.h>
#include <utils/fmgroids.h>
}

namespace once {
namespace {

constexpr pg::Column kColumns[] = {
    {"name", TEXTOID},        {"lease", INTERVALOID},       {"total_lease", INTERVALOID},
    {"keep", INTERVALOID},    {"keep_failed", INTERVALOID}, {"max_attempts", INT4OID},
    {"on_mismatch", TEXTOID}, {"key_required", BOOLOID},    {"roles", TEXTARRAYOID},
    {"class", INT2OID},       {"class_before", INT2OID},    {"classes", INT4OID},
};
enum Column {
    cName,
    cLease,
    cTotalLease,
    cKeep,
    cKeepFailed,
    cMaxAttempts,
    cOnMismatch,
    cKeyRequired,
    cRoles,
    cClass,
    cClassBefore,
    cClasses,
    kCount
};

constexpr int64 kMaxInterval = INT64CONST(1000) * 365 * USECS_PER_DAY;
// Names come from callers: a session must not collect them without end.
constexpr size_t kMostKnown = 1024;

struct Known {
    RowMemo memo;
    std::shared_ptr<const Scope> scope;
};
std::unordered_map<std::string, Known, pg::StringHash, std::equal_to<>> known;

int64 clamp_interval(const Interval *value) {
    const double total = static_cast<double>(value->time) +
                         (value->day + value->month * 30.0) * static_cast<double>(USECS_PER_DAY);
    if (!(total >= 0) || total > static_cast<double>(kMaxInterval) * 1.1)
        return -1;
    return value->time + (value->day + value->month * INT64CONST(30)) * USECS_PER_DAY;
}

// A row of once.scope in the current context. Trivially destructible.
struct Row {
    bool found;
    bool remembered; // what is known of it still holds: nothing was read
    bool ours;       // written by our transaction and not committed yet
    RowMemo memo;
    Datum value[kCount];
    bool null[kCount];
};

bool has_name(HeapTuple row, TupleDesc shape, const pg::ColumnMap &columns, std::string_view name) {
    bool null;
    const text *found = DatumGetTextPP(pg::read_column(row, shape, columns, cName, &null));
    return std::string_view(VARDATA_ANY(found), VARSIZE_ANY_EXHDR(found)) == name;
}

// Server world. `memo`: null when nothing is known.
Row read_row(std::string_view name, Snapshot snapshot, const RowMemo *memo) {
    Row row{};
    Relation heap = table_open(known_table("scope"), AccessShareLock);
    const pg::ColumnMap columns = pg::columns_of(heap, kColumns, pg::Use::read);
    const TupleDesc shape = RelationGetDescr(heap);
    const auto same = [&](HeapTuple tuple) { return has_name(tuple, shape, columns, name); };
    row.remembered = memo && still_shown(*memo, heap, snapshot, same);
    if (!row.remembered && RelationGetNumberOfBlocks(heap) > 0) {
        ScanKeyData key;
        ScanKeyInit(
            &key, columns.number[cName], BTEqualStrategyNumber, F_TEXTEQ,
            PointerGetDatum(cstring_to_text_with_len(name.data(), static_cast<int>(name.size()))));
        key.sk_collation = C_COLLATION_OID;
        SysScanDesc scan =
            systable_beginscan(heap, pg::primary_key_of(heap), true, snapshot, 1, &key);
        if (HeapTuple tuple = systable_getnext(scan)) {
            row.found = true;
            row.ours = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data));
            row.memo = RowMemo::of(heap, tuple);
            pg::read_row(heap_copytuple(tuple), shape, columns, row.value, row.null);
        }
        systable_endscan(scan);
    }
    table_close(heap, NoLock); // the next call finds the lock
    return row;
}

int64 stored_interval(Datum value) {
    return clamp_interval(DatumGetIntervalP(value));
}

std::shared_ptr<const Scope> scope_in(const Row &row, std::string_view name) {
    auto scope = std::make_shared<Scope>();
    scope->name = name;
    if (!row.found)
        return scope;
    scope->lease = stored_interval(row.value[cLease]);
    scope->total_lease = stored_interval(row.value[cTotalLease]);
    scope->keep = stored_interval(row.value[cKeep]);
    scope->keep_failed =
        row.null[cKeepFailed] ? scope->keep : stored_interval(row.value[cKeepFailed]);
    scope->max_attempts = DatumGetInt32(row.value[cMaxAttempts]);
    scope->allow_other_request = pg::bytes_of(row.value[cOnMismatch]) == "allow";
    scope->key_required = DatumGetBool(row.value[cKeyRequired]);
    scope->home = static_cast<Class>(DatumGetInt16(row.value[row.ours ? cClassBefore : cClass]));
    scope->uncommitted = row.ours;
    scope->classes = DatumGetInt32(row.value[cClasses]);
    scope->restricted = !row.null[cRoles];
    if (scope->restricted) {
        const pg::Elements roles = pg::elements_of(row.value[cRoles], "roles", TEXTOID);
        for (int i = 0; i < roles.count; ++i)
            if (roles.has(i))
                scope->roles.emplace_back(pg::bytes_of(roles.value[i]));
    }
    return scope;
}

} // namespace

std::shared_ptr<const Scope> scope_of(std::string_view name, Snapshot snapshot) {
    const auto last = known.find(name);
    const RowMemo *memo = last == known.end() ? nullptr : &last->second.memo;
    const Row row = pg::call([&] { return read_row(name, snapshot, memo); });
    if (row.remembered)
        return last->second.scope;
    auto scope = scope_in(row, name);
    if (row.found && OidIsValid(row.memo.table)) {
        if (known.size() >= kMostKnown)
            known.clear();
        known.insert_or_assign(std::string(name), Known{row.memo, scope});
    }
    return scope;
}

std::shared_ptr<const Scope> scope_now(std::string_view name) {
    const pg::NewestSnapshot newest;
    return scope_of(name, newest.get());
}

void check_scope_right(const Scope &scope, Oid user) {
    if (!scope.restricted)
        return;
    bool allowed = pg::call([&] { return superuser_arg(user); });
    for (auto role = scope.roles.begin(); role != scope.roles.end() && !allowed; ++role)
        allowed = pg::call([&] {
            const Oid granted = get_role_oid(role->c_str(), true);
            return OidIsValid(granted) && has_privs_of_role(user, granted);
        });
    if (!allowed)
        throw pg::Failure{ERRCODE_INSUFFICIENT_PRIVILEGE,
                          "permission denied for scope \"" + scope.name + "\"", "",
                          "An administrator can give it with once.scope_grant."};
}

int64 microseconds_or_zero_of(Datum interval, const char *what) {
    const int64 value = clamp_interval(DatumGetIntervalP(interval));
    if (value < 0)
        throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE,
                          std::string(what) + " must not be negative and at most 1000 years"};
    return value;
}

int64 microseconds_of(Datum interval, const char *what) {
    const int64 value = clamp_interval(DatumGetIntervalP(interval));
    if (value <= 0)
        throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE,
                          std::string(what) + " must be above zero and at most 1000 years"};
    return value;
}

} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_scope_check);
PGDLLEXPORT Datum once_scope_check(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const std::string_view name = once::name_argument(fcinfo, 0, "scope");
        once::check_scope_right(*once::scope_now(name), GetOuterUserId());
        PG_RETURN_VOID();
    });
}

} // extern "C"
