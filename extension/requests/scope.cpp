#include "requests/scope.hpp"

#include "arguments.hpp"
#include "pg/columns.hpp"
#include "pg/compat.hpp"
#include "pg/memory.hpp"
#include "pg/newest_snapshot.hpp"
#include "pg/session_cache.hpp"

#include <iterator>
#include <map>

extern "C" {
#include <access/genam.h>
#include <access/htup_details.h>
#include <access/skey.h>
#include <access/table.h>
#include <catalog/namespace.h>
#include <commands/trigger.h>
#include <datatype/timestamp.h>
#include <utils/acl.h>
#include <utils/fmgroids.h>
#include <utils/inval.h>
#include <utils/lsyscache.h>
#include <utils/rel.h>
#include <utils/snapmgr.h>
}

namespace once {
namespace {

// Columns of once.scope that are read, from 0.
enum Column {
    kName,
    kStore,
    kGeneration,
    kLease,
    kTotalLease,
    kKeep,
    kKeepFailed,
    kMaxAttempts,
    kOnMismatch,
    kKeyRequired,
    kRestricted,
    kColumns
};
constexpr pg::Column kSettings[] = {{"name", TEXTOID},
                                    {"store", INT4OID},
                                    {"generation", INT4OID},
                                    {"lease", INTERVALOID},
                                    {"total_lease", INTERVALOID},
                                    {"keep", INTERVALOID},
                                    {"keep_failed", INTERVALOID},
                                    {"max_attempts", INT4OID},
                                    {"on_mismatch", TEXTOID},
                                    {"key_required", BOOLOID},
                                    {"restricted", BOOLOID}};
static_assert(std::size(kSettings) == kColumns);
constexpr pg::Column kRight[] = {{"scope", TEXTOID}, {"role", NAMEOID}};

constexpr int64 kMaxInterval = INT64CONST(1000) * 365 * USECS_PER_DAY;
constexpr size_t kMaxCached =
    1024; // names come from callers: a session must not collect them without end

struct Cache {
    std::map<std::string, std::shared_ptr<const Scope>, std::less<>> scopes;
    Oid settings_table = InvalidOid;
    bool registered = false;
    bool stale = true;
};
Cache cache;

// Runs at any time, in any state: it only tags.
void invalidated(void *, Oid relation) noexcept {
    if (relation == InvalidOid || relation == cache.settings_table)
        cache.stale = true;
}

int64 clamp_interval(const Interval *value) {
    const double total = static_cast<double>(value->time) +
                         (value->day + value->month * 30.0) * static_cast<double>(USECS_PER_DAY);
    if (!(total >= 0) || total > static_cast<double>(kMaxInterval) * 1.1)
        return -1;
    return value->time + (value->day + value->month * INT64CONST(30)) * USECS_PER_DAY;
}

// What a row of once.scope says, free of pointers into the table. Filled inside pg::call.
struct Row {
    bool found;
    int store;
    Scope *scope;
};

int64 stored_interval(Datum value) {
    return clamp_interval(DatumGetIntervalP(value));
}

Row read_row(Relation settings, std::string_view name, Scope *scope) {
    const pg::ColumnMap map = pg::columns_of(settings, kSettings, pg::Use::read);
    ScanKeyData key;
    ScanKeyInit(
        &key, map.number[kName], BTEqualStrategyNumber, F_TEXTEQ,
        PointerGetDatum(cstring_to_text_with_len(name.data(), static_cast<int>(name.size()))));
    Snapshot snapshot = RegisterSnapshot(pg::newest_snapshot());
    SysScanDesc scan =
        systable_beginscan(settings, pg::primary_key_of(settings), true, snapshot, 1, &key);
    HeapTuple tuple = systable_getnext(scan);
    Row row{HeapTupleIsValid(tuple), 0, scope};
    if (row.found) {
        Datum value[kColumns];
        bool null[kColumns];
        pg::read_row(tuple, RelationGetDescr(settings), map, value, null);
        row.store = DatumGetInt32(value[kStore]);
        scope->generation = DatumGetInt32(value[kGeneration]);
        scope->lease = stored_interval(value[kLease]);
        scope->total_lease = stored_interval(value[kTotalLease]);
        scope->keep = stored_interval(value[kKeep]);
        scope->keep_failed = null[kKeepFailed] ? scope->keep : stored_interval(value[kKeepFailed]);
        scope->max_attempts = DatumGetInt32(value[kMaxAttempts]);
        scope->allow_other_request = VARDATA_ANY(DatumGetTextPP(value[kOnMismatch]))[0] == 'a';
        scope->key_required = DatumGetBool(value[kKeyRequired]);
        scope->restricted = DatumGetBool(value[kRestricted]);
    }
    systable_endscan(scan);
    UnregisterSnapshot(snapshot);
    return row;
}

// A commit is visible a moment before other sessions are told of it, and who has the old settings
// in that moment does not look into a generation that was empty. So the sweep has the next one
// locked until all are told, and who reads the new settings first waits for it here.
void find_tables(Oid schema, int store, Scope *scope) {
    for (int i = 0; i < kGenerations; ++i) {
        char name[NAMEDATALEN];
        snprintf(name, sizeof name, "claim_%d_%d", store, i);
        scope->heap[i] = get_relname_relid(name, schema);
        if (!OidIsValid(scope->heap[i]))
            ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                            errmsg("relation \"once.%s\" does not exist", name)));
    }
}

// Roles that may use the scope, as a palloc'd array.
int read_roles(Oid schema, std::string_view name, Oid **roles) {
    Relation rights = table_open(get_relname_relid("scope_right", schema), AccessShareLock);
    const pg::ColumnMap map = pg::columns_of(rights, kRight, pg::Use::read);
    ScanKeyData key;
    ScanKeyInit(
        &key, map.number[0], BTEqualStrategyNumber, F_TEXTEQ,
        PointerGetDatum(cstring_to_text_with_len(name.data(), static_cast<int>(name.size()))));
    Snapshot snapshot = RegisterSnapshot(pg::newest_snapshot());
    SysScanDesc scan =
        systable_beginscan(rights, pg::primary_key_of(rights), true, snapshot, 1, &key);
    int count = 0, room = 8;
    *roles = static_cast<Oid *>(palloc(sizeof(Oid) * room));
    while (HeapTuple tuple = systable_getnext(scan)) {
        bool null;
        const Oid role = get_role_oid(
            NameStr(*DatumGetName(pg::read_column(tuple, RelationGetDescr(rights), map, 1, &null))),
            true);
        if (!OidIsValid(role))
            continue; // dropped since
        if (count == room)
            *roles = static_cast<Oid *>(repalloc(*roles, sizeof(Oid) * (room *= 2)));
        (*roles)[count++] = role;
    }
    systable_endscan(scan);
    UnregisterSnapshot(snapshot);
    table_close(rights, AccessShareLock);
    return count;
}

std::shared_ptr<const Scope> load(std::string_view name) {
    auto scope = std::make_shared<Scope>();
    Scope *target = scope.get();
    Oid *roles = nullptr;
    int role_count = 0;
    const bool declared = pg::call([&] {
        const Oid schema = get_namespace_oid("once", false);
        cache.settings_table = get_relname_relid("scope", schema);
        if (!OidIsValid(cache.settings_table))
            ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                            errmsg("relation \"once.scope\" does not exist")));
        Relation settings = table_open(cache.settings_table, AccessShareLock);
        Row row = read_row(settings, name, target);
        const bool found = row.found && !name.empty();
        if (!row.found)
            row = read_row(settings, std::string_view(), target);
        if (!row.found)
            ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
                            errmsg("table \"once.scope\" has lost its default row")));
        table_close(settings, AccessShareLock);
        find_tables(schema, row.store, target);
        if (target->restricted)
            role_count = read_roles(schema, name, &roles);
        return found;
    });
    if (declared)
        scope->name = name;
    scope->roles.assign(roles, roles + role_count);
    return scope;
}

} // namespace

std::shared_ptr<const Scope> scope_of(std::string_view name) {
    if (!cache.registered) {
        pg::call([] { pg::watch_relations(invalidated); });
        cache.registered = true;
    }
    if (cache.stale || cache.scopes.size() > kMaxCached) {
        cache.scopes.clear();
        cache.stale = false;
    }
    if (const auto known = cache.scopes.find(name); known != cache.scopes.end())
        return known->second;
    auto scope = load(name);
    // Changed while it was read: good for this once, and the caller asks
    // scopes_changed().
    if (!cache.stale && !IsInParallelMode())
        cache.scopes.emplace(name, scope);
    return scope;
}

bool scopes_changed() {
    AcceptInvalidationMessages();
    return cache.stale;
}

void check_scope_right(const Scope &scope, Oid user) {
    if (!scope.restricted)
        return;
    const bool allowed = pg::call([&] {
        if (superuser_arg(user))
            return true;
        for (Oid role : scope.roles)
            if (has_privs_of_role(user, role))
                return true;
        return false;
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

PG_FUNCTION_INFO_V1(once_scope_changed);
PGDLLEXPORT Datum once_scope_changed(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        pg::call([&] {
            if (!CALLED_AS_TRIGGER(fcinfo))
                ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                                errmsg("function \"scope_changed\" was not called by a trigger")));
            const Oid settings = get_relname_relid("scope", get_namespace_oid("once", false));
            CacheInvalidateRelcacheByRelid(settings);
        });
        return PointerGetDatum(nullptr);
    });
}

PG_FUNCTION_INFO_V1(once_scope_check);
PGDLLEXPORT Datum once_scope_check(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const std::string_view name = once::name_argument(fcinfo, 0, "scope");
        once::check_scope_right(*once::scope_of(name), GetOuterUserId());
        PG_RETURN_VOID();
    });
}

} // extern "C"
