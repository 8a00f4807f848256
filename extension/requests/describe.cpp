// once.describe: what is known about a key. Reads the committed state, writes nothing, waits for
// nobody.
#include "arguments.hpp"
#include "requests/claim_row.hpp"
#include "pg/memory.hpp"
#include "pg/value.hpp"
#include "requests/scope.hpp"

#include <algorithm>

extern "C" {
#include <utils/timestamp.h>
}

namespace once {
namespace {

enum Column {
    dState,
    dAttempt,
    dLeaseLeft,
    dKeepLeft,
    dStatus,
    dResponse,
    dBody,
    dError,
    dCheckpoint,
    dColumns
};

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

// Inside pg::call.
Datum describe(FunctionCallInfo fcinfo, const Scope &scope, const ClaimKey &key) {
    TupleDesc shape;
    if (get_call_result_type(fcinfo, nullptr, &shape) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "return type must be a row type");
    Datum value[dColumns] = {};
    bool null[dColumns];
    std::fill_n(null, static_cast<int>(dColumns), true);
    const auto set = [&](Column column, Datum datum) {
        value[column] = datum, null[column] = false;
    };
    const auto copy = [&](Column column, const ClaimRecord &record, ClaimColumn from) {
        value[column] = record.value[from], null[column] = record.null[from];
    };

    const ClaimRecord record = find_committed_claim(scope, key);
    const TimestampTz now = GetCurrentTimestamp();
    if (!record.found() || expires_at(scope, record) <= now) {
        set(dState, CStringGetTextDatum("missing"));
        return HeapTupleGetDatum(heap_form_tuple(shape, value, null));
    }
    set(dState, CStringGetTextDatum(state_name(scope, record, now)));
    copy(dAttempt, record, kAttempt);
    if (record.state() == ClaimState::claimed)
        set(dLeaseLeft, pg::interval_of(std::max<int64>(record.time(kLeaseUntil) - now, 0)));
    set(dKeepLeft, pg::interval_of(expires_at(scope, record) - now));
    copy(dStatus, record, kStatus);
    copy(dResponse, record, kResponse);
    copy(dBody, record, kBody);
    copy(dError, record, kError);
    copy(dCheckpoint, record, kCheckpoint);
    return HeapTupleGetDatum(heap_form_tuple(shape, value, null));
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_describe);
PGDLLEXPORT Datum once_describe(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const once::ClaimKey key{once::name_argument(fcinfo, 0, "scope"),
                                 once::name_argument(fcinfo, 1, "key")};
        const auto scope = once::scope_of(key.scope);
        once::check_scope_right(*scope, GetUserId());
        return pg::call([&] { return once::describe(fcinfo, *scope, key); });
    });
}

} // extern "C"
