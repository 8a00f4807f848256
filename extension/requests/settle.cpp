// complete, fail, release, renew, checkpoint: what the owner of a claim does with it. The try_
// forms answer with a verdict, the others raise anything but ok and already, so that the
// transaction's effects roll back with them.
#include "arguments.hpp"
#include "requests/claim_row.hpp"
#include "errors.hpp"
#include "pg/memory.hpp"
#include "pg/spi.hpp"
#include "requests/scope.hpp"
#include "verdict.hpp"

#include <algorithm>
#include <optional>

extern "C" {
#include <utils/jsonb.h>
#include <utils/timestamp.h>
}

namespace once {
namespace {

enum class Act { complete, fail, release, renew, checkpoint };
enum class Settled { ok, already, fenced, missing, mismatch };
const char *const kLabels[] = {"ok", "already", "fenced", "missing", "mismatch"};

// Arguments of all five; what an act does not have stays empty. Datums are detoasted.
struct Settlement {
    Act act;
    ClaimKey id;
    Oid user;
    pg_uuid_t token;
    std::optional<Datum> json; // response, error or checkpoint
    std::optional<int> status;
    std::optional<Datum> body;
    std::optional<int64> keep;
    int64 lease = 0;
};

bool same_json(const ClaimRecord &record, ClaimColumn column, const std::optional<Datum> &given) {
    if (record.null[column] || !given)
        return record.null[column] == !given;
    return compareJsonbContainers(&DatumGetJsonbP(record.value[column])->root,
                                  &DatumGetJsonbP(*given)->root) == 0;
}

bool same_bytes(const ClaimRecord &record, ClaimColumn column, const std::optional<Datum> &given) {
    if (record.null[column] || !given)
        return record.null[column] == !given;
    const bytea *a = DatumGetByteaPP(record.value[column]), *b = DatumGetByteaPP(*given);
    return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
           memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

bool same_status(const ClaimRecord &record, const std::optional<int> &given) {
    return record.null[kStatus] ? !given : given == DatumGetInt32(record.value[kStatus]);
}

// A claim that was settled before: the same once more is `already`, anything else keeps the first
// answer.
Settled settled_before(const ClaimRecord &record, const Settlement &settlement) {
    const bool failed = record.state() == ClaimState::failed;
    if (settlement.act == Act::complete)
        return !failed && same_status(record, settlement.status) &&
                       same_json(record, kResponse, settlement.json) &&
                       same_bytes(record, kBody, settlement.body)
                   ? Settled::already
                   : Settled::mismatch;
    if (settlement.act == Act::fail)
        return failed && same_status(record, settlement.status) &&
                       same_json(record, kError, settlement.json)
                   ? Settled::already
                   : Settled::mismatch;
    return Settled::already;
}

// What the act finds. A lapsed lease that nobody reclaimed is still the owner's; what has expired
// is gone.
Settled judge(const Scope &scope, const ClaimRecord &record, const Settlement &settlement,
              TimestampTz now) {
    if (!record.found() || expires_at(scope, record) <= now)
        return Settled::missing;
    if (!record.has_token(settlement.token))
        return Settled::fenced;
    switch (record.state()) {
    case ClaimState::released:
        return Settled::missing;
    case ClaimState::completed:
    case ClaimState::failed:
        return settled_before(record, settlement);
    case ClaimState::claimed:
        break;
    }
    // Whoever has used up the total lease may still settle, but no longer stay.
    if (settlement.act == Act::renew && record.time(kClaimedAt) + scope.total_lease <= now)
        return Settled::fenced;
    return Settled::ok;
}

void apply(const Scope &scope, const ClaimRings &rings, ClaimRecord &record,
           const Settlement &settlement, TimestampTz now) {
    const auto settle = [&](ClaimState state) {
        record.set(kState, CharGetDatum(static_cast<char>(state)));
        record.set(kSettledAt, TimestampTzGetDatum(now));
        record.set_or_clear(kStatus, settlement.status.has_value(),
                            Int32GetDatum(settlement.status.value_or(0)));
    };
    const bool json = settlement.json.has_value();
    switch (settlement.act) {
    case Act::complete:
        settle(ClaimState::completed);
        record.clear(kCheckpoint);
        record.set_or_clear(kResponse, json, settlement.json.value_or(0));
        record.set_or_clear(kBody, settlement.body.has_value(), settlement.body.value_or(0));
        record.set_or_clear(kOwnKeep, settlement.keep.has_value(),
                            Int64GetDatum(settlement.keep.value_or(0)));
        break;
    case Act::fail:
        settle(ClaimState::failed);
        record.clear(kCheckpoint);
        record.set_or_clear(kError, json, settlement.json.value_or(0));
        break;
    case Act::release:
        settle(ClaimState::released);
        break;
    case Act::renew:
        record.set(kLeaseUntil,
                   TimestampTzGetDatum(std::min(now + settlement.lease,
                                                record.time(kClaimedAt) + scope.total_lease)));
        break;
    case Act::checkpoint:
        record.set_or_clear(kCheckpoint, json, settlement.json.value_or(0));
        break;
    }
    write_claim(scope, rings, record, now);
    if (settlement.act != Act::checkpoint)
        wake_waiters(settlement.id);
}

struct Step {
    Settled verdict = Settled::missing;
    TransactionId busy = InvalidTransactionId;
};

// With the key locked. The snapshot is younger than the lock and is held until the row is written
// [!].
Step settle_locked(const Settlement &settlement) {
    const pg::NewestSnapshot newest;
    const auto scope = scope_of(settlement.id.scope, newest.get());
    check_scope_right(*scope, settlement.user);
    return pg::call([&] {
        Step step;
        const ClaimRings rings = claim_rings(*scope, newest.get());
        ClaimRecord record = find_claim(rings, settlement.id, &step.busy);
        if (step.busy != InvalidTransactionId)
            return step;
        const TimestampTz now = GetCurrentTimestamp();
        step.verdict = judge(*scope, record, settlement, now);
        if (step.verdict == Settled::ok)
            apply(*scope, rings, record, settlement, now);
        return step;
    });
}

Settled settle(const Settlement &settlement) {
    for (;;) {
        KeyLock lock(settlement.id);
        pg::call([&] { lock.acquire(); });
        const Step step = settle_locked(settlement);
        pg::call([&] { lock.release(); });
        if (step.busy == InvalidTransactionId)
            return step.verdict;
        pg::call([&] { wait_for_claim(step.busy); });
    }
}

std::optional<Datum> detoasted(FunctionCallInfo fcinfo, int argument) {
    if (PG_ARGISNULL(argument))
        return std::nullopt;
    return pg::call([&] { return PointerGetDatum(PG_DETOAST_DATUM(PG_GETARG_DATUM(argument))); });
}

std::optional<int> integer(FunctionCallInfo fcinfo, int argument) {
    return PG_ARGISNULL(argument) ? std::nullopt : std::optional(PG_GETARG_INT32(argument));
}

// Arguments behind (scope, key, token), as sql/api/requests/settle.sql has them.
void read_rest(FunctionCallInfo fcinfo, Settlement &settlement) {
    switch (settlement.act) {
    case Act::complete:
        settlement.json = detoasted(fcinfo, 3);
        settlement.status = integer(fcinfo, 4);
        settlement.body = detoasted(fcinfo, 5);
        if (!PG_ARGISNULL(6))
            settlement.keep = microseconds_of(PG_GETARG_DATUM(6), "keep");
        break;
    case Act::fail:
        settlement.json = detoasted(fcinfo, 3);
        settlement.status = integer(fcinfo, 4);
        break;
    case Act::renew:
        require_argument(fcinfo, 3, "lease");
        settlement.lease = microseconds_of(PG_GETARG_DATUM(3), "lease");
        break;
    case Act::checkpoint:
        settlement.json = detoasted(fcinfo, 3);
        break;
    case Act::release:
        break;
    }
}

Settled settle_call(FunctionCallInfo fcinfo, Act act, Settlement &settlement) {
    check_writable("settling a claim");
    settlement.act = act;
    settlement.id.scope = name_argument(fcinfo, 0, "scope");
    settlement.user = GetUserId();
    if (PG_ARGISNULL(1)) {
        const auto scope = scope_now(settlement.id.scope);
        check_scope_right(*scope, settlement.user);
        if (!scope->key_required)
            return Settled::ok; // the claim was let through unchecked: nothing is kept
    }
    settlement.id.key = name_argument(fcinfo, 1, "key");
    settlement.id.owner = scope_owner(settlement.id.scope);
    require_argument(fcinfo, 2, "token");
    settlement.token = *PG_GETARG_UUID_P(2);
    read_rest(fcinfo, settlement);
    return settle(settlement);
}

void raise(Settled verdict, const Settlement &settlement) {
    const std::string what = "claim \"" + std::string(settlement.id.key) + "\" in scope \"" +
                             std::string(settlement.id.scope) + "\"";
    switch (verdict) {
    case Settled::fenced:
        throw pg::Failure{
            kFenced, what + " belongs to another owner",
            "Its lease lapsed and it was claimed again, or its total lease is used up."};
    case Settled::mismatch:
        throw pg::Failure{kRequestMismatch, what + " has been settled with another answer",
                          "The first answer stands."};
    case Settled::missing:
        throw pg::Failure{kNoSuchClaim, "no such claim: " + what};
    case Settled::ok:
    case Settled::already:
        break;
    }
}

Datum raising(FunctionCallInfo fcinfo, Act act) {
    return pg::entry([&]() -> Datum {
        Settlement settlement;
        raise(settle_call(fcinfo, act, settlement), settlement);
        PG_RETURN_VOID();
    });
}

Datum trying(FunctionCallInfo fcinfo, Act act) {
    return pg::entry([&]() -> Datum {
        Settlement settlement;
        return verdict_of(fcinfo, kLabels[static_cast<int>(settle_call(fcinfo, act, settlement))]);
    });
}

} // namespace
} // namespace once

#define ONCE_SETTLE(act)                                                                           \
    PG_FUNCTION_INFO_V1(once_##act);                                                               \
    PGDLLEXPORT Datum once_##act(PG_FUNCTION_ARGS) {                                               \
        return once::raising(fcinfo, once::Act::act);                                              \
    }                                                                                              \
    PG_FUNCTION_INFO_V1(once_try_##act);                                                           \
    PGDLLEXPORT Datum once_try_##act(PG_FUNCTION_ARGS) {                                           \
        return once::trying(fcinfo, once::Act::act);                                               \
    }

extern "C" {
ONCE_SETTLE(complete)
ONCE_SETTLE(fail)
ONCE_SETTLE(release)
ONCE_SETTLE(renew)
ONCE_SETTLE(checkpoint)
}
