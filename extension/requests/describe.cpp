// once.describe: what is known about a key. Reads the committed state, writes nothing, waits for
// nobody.
#include "arguments.hpp"
#include "requests/claim_row.hpp"
#include "pg/memory.hpp"
#include "pg/row.hpp"
#include "pg/spi.hpp"
#include "requests/scope.hpp"

#include <algorithm>

extern "C" {
#include <catalog/pg_type.h>
#include <utils/timestamp.h>
}

namespace once {
namespace {

enum { dState, dAttempt, dLeaseLeft, dKeepLeft, dStatus, dResponse, dBody, dError, dCheckpoint };
constexpr pg::Column kAnswer[] = {
    {"state", TEXTOID},         {"attempt", INT4OID}, {"lease_left", INTERVALOID},
    {"keep_left", INTERVALOID}, {"status", INT4OID},  {"response", JSONBOID},
    {"body", BYTEAOID},         {"error", JSONBOID},  {"checkpoint", JSONBOID}};

const char *state_name(const Scope &scope, const ClaimRecord &record, TimestampTz now) {
    switch (record.state()) {
    case ClaimState::completed:
        return "completed";
    case ClaimState::failed:
        return "failed";
    case ClaimState::released:
    case ClaimState::claimed:
        break;
    }
    const bool released = record.state() == ClaimState::released;
    if (!released && record.time(kLeaseUntil) > now)
        return "in_progress";
    if (scope.max_attempts > 0 && record.attempt() >= scope.max_attempts)
        return "exhausted";
    return released ? "released" : "lapsed";
}

// Scope, rings and row are read under one snapshot: a claim that moves is in one place of it.
Datum describe(FunctionCallInfo fcinfo, const Scope &scope, const ClaimKey &key,
               Snapshot snapshot) {
    pg::ResultRow answer(fcinfo, kAnswer);
    const ClaimRecord record =
        pg::call([&] { return find_claim_shown(claim_rings(scope, snapshot), key, snapshot); });
    const TimestampTz now = GetCurrentTimestamp();
    if (!record.found() || expires_at(scope, record) <= now) {
        answer.set(dState, pg::varlena_of("missing"));
        return answer.datum();
    }
    const auto copy = [&](int column, ClaimColumn from) {
        answer.set(column, record.value[from], record.null[from]);
    };
    answer.set(dState, pg::varlena_of(state_name(scope, record, now)));
    copy(dAttempt, kAttempt);
    if (record.state() == ClaimState::claimed)
        answer.set(dLeaseLeft, pg::interval_of(std::max<int64>(record.time(kLeaseUntil) - now, 0)));
    answer.set(dKeepLeft, pg::interval_of(expires_at(scope, record) - now));
    copy(dStatus, kStatus);
    copy(dResponse, kResponse);
    copy(dBody, kBody);
    copy(dError, kError);
    copy(dCheckpoint, kCheckpoint);
    return answer.datum();
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_describe);
PGDLLEXPORT Datum once_describe(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        once::ClaimKey key{once::name_argument(fcinfo, 0, "scope"),
                           once::name_argument(fcinfo, 1, "key")};
        key.owner = once::scope_owner(key.scope);
        const pg::NewestSnapshot newest;
        const auto scope = once::scope_of(key.scope, newest.get());
        once::check_scope_right(*scope, GetUserId());
        return once::describe(fcinfo, *scope, key, newest.get());
    });
}

} // extern "C"
