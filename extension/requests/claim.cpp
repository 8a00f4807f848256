// once.claim: who owns a request key, or what became of it.
//
// The key is locked, looked for in every generation of every ring that the scope ever used, and
// written where it must be, in one go. Who finds the lock taken looks from outside first: nearly
// every retry is decided there.
#include "arguments.hpp"
#include "requests/claim_row.hpp"
#include "errors.hpp"
#include "digest/fingerprint.hpp"
#include "pg/memory.hpp"
#include "pg/random.hpp"
#include "pg/row.hpp"
#include "pg/spi.hpp"
#include "pg/utf8.hpp"
#include "requests/scope.hpp"
#include "verdict.hpp"

#include <algorithm>
#include <optional>

extern "C" {
#include <catalog/pg_type.h>
#include <storage/latch.h>
#include <utils/array.h>
#include <utils/lsyscache.h>
#include <utils/timestamp.h>
#include <utils/wait_event.h>
}

namespace once {
namespace {

// Polling is the floor: a waiter that nobody wakes looks this often.
constexpr long kPollMs = 50;

enum class Verdict { fresh, reclaimed, in_progress, replay, mismatch, failed, exhausted };
const char *const kVerdictLabels[] = {"new",      "reclaimed", "in_progress", "replay",
                                      "mismatch", "failed",    "exhausted"};

struct Request {
    ClaimKey id;
    Oid user;
    std::string fingerprint; // empty: no request given, nothing to compare
    std::string fields;      // short digests of a JSON object's fields
    bool bytes = false;      // given as bytes: nothing to name
    std::optional<int64> lease;
    int64 wait = 0;
};

struct Decision {
    Verdict verdict;
    bool takes = false;     // the caller becomes the owner
    bool continues = false; // with attempts and checkpoint of the one before
};

struct Outcome {
    Decision decision;
    ClaimRecord record;
    TimestampTz now = 0;
};

bool same_request(const ClaimRecord &record, std::string_view fingerprint) {
    if (record.null[kFingerprint])
        return fingerprint.empty();
    const auto *stored = reinterpret_cast<varlena *>(DatumGetPointer(record.value[kFingerprint]));
    // The version byte is part of it: of a version we do not know no request is the same.
    return !fingerprint.empty() &&
           std::string_view(VARDATA_ANY(stored), VARSIZE_ANY_EXHDR(stored)) == fingerprint;
}

// Pure: what a row as it is now means for this request.
Decision decide(const Scope &scope, const ClaimRecord &record, std::string_view fingerprint,
                TimestampTz now) {
    if (!record.found() || expires_at(scope, record) <= now)
        return {Verdict::fresh, true, false};
    const bool same = same_request(record, fingerprint);
    const ClaimState state = record.state();
    const bool live = state == ClaimState::claimed && record.time(kLeaseUntil) > now;
    if (!same && (live || state == ClaimState::completed || state == ClaimState::failed ||
                  !scope.allow_other_request))
        return {Verdict::mismatch};
    if (state == ClaimState::completed)
        return {Verdict::replay};
    if (state == ClaimState::failed)
        return {Verdict::failed};
    if (live)
        return {Verdict::in_progress};
    if (same && scope.max_attempts > 0 && record.attempt() >= scope.max_attempts)
        return {Verdict::exhausted};
    return {state == ClaimState::released ? Verdict::fresh : Verdict::reclaimed, true, same};
}

Datum bytea_datum(std::string_view bytes) {
    return PointerGetDatum(cstring_to_text_with_len(bytes.data(), static_cast<int>(bytes.size())));
}

// A random uuid (version 4).
pg_uuid_t *random_token() {
    auto *token = static_cast<pg_uuid_t *>(palloc(sizeof(pg_uuid_t)));
    pg::random_bytes(token->data, UUID_LEN);
    token->data[6] = static_cast<unsigned char>((token->data[6] & 0x0f) | 0x40);
    token->data[8] = static_cast<unsigned char>((token->data[8] & 0x3f) | 0x80);
    return token;
}

// The row as the new owner leaves it. Inside pg::call.
void take(const Scope &scope, const ClaimRings &rings, const Request &request, Outcome &outcome) {
    ClaimRecord &record = outcome.record;
    const bool continues = outcome.decision.continues;
    const int attempt = continues ? record.attempt() + 1 : 1;
    pg_uuid_t *token = random_token();

    for (ClaimColumn column : {kSettledAt, kOwnKeep, kStatus, kResponse, kBody, kError})
        record.clear(column);
    if (!continues)
        record.clear(kCheckpoint);
    record.set(kOwner, Int64GetDatum(request.id.owner));
    record.set(kClaimedAt, TimestampTzGetDatum(outcome.now));
    record.set(kLeaseUntil, TimestampTzGetDatum(outcome.now + request.lease.value_or(scope.lease)));
    record.set(kToken, UUIDPGetDatum(token));
    record.set(kAttempt, Int32GetDatum(attempt));
    record.set(kState, CharGetDatum(static_cast<char>(ClaimState::claimed)));
    record.set(kKey, bytea_datum(request.id.key));
    record.set(kScope, bytea_datum(request.id.scope));
    record.set_or_clear(kFingerprint, !request.fingerprint.empty(),
                        bytea_datum(request.fingerprint));
    record.set_or_clear(kFields, !request.fields.empty(), bytea_datum(request.fields));
    write_claim(scope, rings, record, outcome.now);
}

// One answer, without waiting for a committed claim. Waits for uncommitted ones like for a row
// lock.
class Attempt {
  public:
    explicit Attempt(const Request &request) : request_(request) {}

    Outcome run() {
        for (;;) {
            Outcome outcome;
            KeyLock lock(request_.id);
            TransactionId busy = InvalidTransactionId;
            if (!pg::call([&] { return lock.try_acquire(); })) {
                busy = look_from_outside(outcome);
                if (busy == InvalidTransactionId && !outcome.decision.takes)
                    return outcome;
                if (busy == InvalidTransactionId)
                    pg::call([&] { lock.acquire(); });
            }
            if (busy == InvalidTransactionId) {
                busy = decide_locked(outcome);
                pg::call([&] { lock.release(); });
            }
            if (busy == InvalidTransactionId)
                return outcome;
            pg::call([&] { wait_for_claim(busy); });
        }
    }

  private:
    // Without the lock only what is there can be relied on, not what is absent.
    TransactionId look_from_outside(Outcome &outcome) const {
        const pg::NewestSnapshot newest;
        const auto scope = scope_of(request_.id.scope, newest.get());
        check(*scope);
        return pg::call([&] {
            TransactionId busy;
            outcome.record =
                find_recent_claim(claim_rings(*scope, newest.get()), request_.id, &busy);
            judge(*scope, outcome, busy);
            return busy;
        });
    }

    // The snapshot is younger than the lock and is held until the row is written [!].
    TransactionId decide_locked(Outcome &outcome) const {
        const pg::NewestSnapshot newest;
        const auto scope = scope_of(request_.id.scope, newest.get());
        check(*scope);
        return pg::call([&] {
            const ClaimRings rings = claim_rings(*scope, newest.get());
            TransactionId busy;
            outcome.record = find_claim(rings, request_.id, &busy);
            judge(*scope, outcome, busy);
            if (busy == InvalidTransactionId && outcome.decision.takes)
                take(*scope, rings, request_, outcome);
            return busy;
        });
    }

    void check(const Scope &scope) const {
        check_scope_right(scope, request_.user);
        if (request_.lease && *request_.lease > scope.total_lease)
            throw pg::Failure{
                ERRCODE_INVALID_PARAMETER_VALUE, "lease must not exceed the scope's total_lease",
                "", "Raise it with once.scope_set, or take a shorter lease and renew it."};
    }

    void judge(const Scope &scope, Outcome &outcome, TransactionId busy) const {
        outcome.now = GetCurrentTimestamp();
        if (busy == InvalidTransactionId)
            outcome.decision = decide(scope, outcome.record, request_.fingerprint, outcome.now);
    }

    const Request &request_;
};

// Sleeps until somebody settles the claim, its lease lapses or the poll is due.
void doze(TimestampTz now, TimestampTz deadline, TimestampTz lease_until) {
    const TimestampTz until = std::min(deadline, lease_until);
    const long left = TimestampDifferenceMilliseconds(now, until);
    pg::call([&] {
        (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                        std::clamp(left, 1L, kPollMs), PG_WAIT_EXTENSION);
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
    });
}

// Goes with the call's own context.
MemoryContext look_context() {
    return pg::call([] {
        return AllocSetContextCreate(CurrentMemoryContext, "once.claim", ALLOCSET_DEFAULT_SIZES);
    });
}

Outcome claim(const Request &request) {
    Attempt attempt(request);
    Outcome outcome = attempt.run();
    const TimestampTz deadline = outcome.now + request.wait;
    // Every look leaves a copy of the row, with its checkpoint: of one look only is it kept.
    MemoryContext look = nullptr;
    // Our own uncommitted claim will not end while we wait.
    while (outcome.decision.verdict == Verdict::in_progress && outcome.now < deadline &&
           !outcome.record.is_ours()) {
        if (!look) {
            look = look_context();
            pg::call([&] { register_waiter(request.id); });
        } else {
            doze(outcome.now, deadline, outcome.record.time(kLeaseUntil));
            pg::call([&] { MemoryContextReset(look); });
        }
        const pg::MemoryScope scope(look);
        outcome = attempt.run();
    }
    if (look)
        pg::call([&] { unregister_waiter(request.id); });
    return outcome;
}

// text[] of the differing fields' names; null when they cannot be told.
std::optional<Datum> differs(const Request &request, const ClaimRecord &record) {
    const std::string_view stored =
        record.null[kFields] ? std::string_view() : pg::bytes_of(record.value[kFields]);
    if (request.bytes || (stored.empty() && request.fields.empty()))
        return std::nullopt;
    const std::vector<std::string> names = differing_fields(stored, request.fields);
    return pg::call([&] {
        auto *values =
            static_cast<Datum *>(palloc(sizeof(Datum) * std::max<size_t>(names.size(), 1)));
        for (size_t i = 0; i < names.size(); ++i)
            values[i] = bytea_datum(pg::from_utf8(names[i]));
        return PointerGetDatum(construct_array(values, static_cast<int>(names.size()), TEXTOID, -1,
                                               false, TYPALIGN_INT));
    });
}

enum {
    rVerdict,
    rToken,
    rAttempt,
    rLeaseLeft,
    rStatus,
    rResponse,
    rBody,
    rError,
    rCheckpoint,
    rDiffers
};
constexpr pg::Column kAnswer[] = {{"verdict", pg::kEnum},   {"token", UUIDOID},
                                  {"attempt", INT4OID},     {"lease_left", INTERVALOID},
                                  {"status", INT4OID},      {"response", JSONBOID},
                                  {"body", BYTEAOID},       {"error", JSONBOID},
                                  {"checkpoint", JSONBOID}, {"differs", TEXTARRAYOID}};

Datum result_row(FunctionCallInfo fcinfo, const Outcome &outcome, std::optional<Datum> differing) {
    const ClaimRecord &record = outcome.record;
    const Decision &decision = outcome.decision;
    pg::ResultRow answer(fcinfo, kAnswer);
    const auto copy = [&](int column, ClaimColumn from) {
        answer.set(column, record.value[from], record.null[from]);
    };
    answer.set_label(rVerdict, kVerdictLabels[static_cast<int>(decision.verdict)]);
    if (decision.takes) {
        copy(rToken, kToken);
        copy(rCheckpoint, kCheckpoint);
    }
    if (decision.takes || decision.verdict == Verdict::in_progress)
        answer.set(rLeaseLeft, pg::interval_of(record.time(kLeaseUntil) - outcome.now));
    if (decision.verdict != Verdict::mismatch)
        copy(rAttempt, kAttempt);
    if (decision.verdict == Verdict::replay || decision.verdict == Verdict::failed) {
        copy(rStatus, kStatus);
        copy(rResponse, kResponse);
        copy(rBody, kBody);
        copy(rError, kError);
    }
    if (differing)
        answer.set(rDiffers, *differing);
    return answer.datum();
}

// A scope that does not require a key lets a null one through: the caller goes on, nothing is kept.
Datum unchecked_row(FunctionCallInfo fcinfo) {
    Outcome outcome{{Verdict::fresh}, {}, 0};
    std::fill_n(outcome.record.null, static_cast<int>(kClaimColumns), true);
    return result_row(fcinfo, outcome, std::nullopt);
}

Datum claim_call(FunctionCallInfo fcinfo, bool bytes) {
    check_writable("claim()");
    Request request;
    request.id.scope = name_argument(fcinfo, 0, "scope");
    request.user = GetUserId();
    if (PG_ARGISNULL(1)) {
        const auto scope = scope_now(request.id.scope);
        check_scope_right(*scope, request.user);
        if (!scope->key_required)
            return unchecked_row(fcinfo);
    }
    request.id.key = name_argument(fcinfo, 1, "key");
    request.id.owner = scope_owner(request.id.scope);
    request.bytes = bytes && !PG_ARGISNULL(2);
    if (request.bytes) {
        request.fingerprint = fingerprint_of_bytes(pg::bytes_of(PG_GETARG_DATUM(2)));
    } else if (!PG_ARGISNULL(2)) {
        Jsonb *json = pg::call([&] { return PG_GETARG_JSONB_P(2); });
        request.fingerprint = fingerprint_of_json(json, &request.fields);
    }
    if (!PG_ARGISNULL(3))
        request.lease = microseconds_of(PG_GETARG_DATUM(3), "lease");
    if (!PG_ARGISNULL(4))
        request.wait = microseconds_or_zero_of(PG_GETARG_DATUM(4), "wait");
    const Outcome outcome = claim(request);
    std::optional<Datum> differing;
    if (outcome.decision.verdict == Verdict::mismatch)
        differing = differs(request, outcome.record);
    return result_row(fcinfo, outcome, differing);
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_claim);
PGDLLEXPORT Datum once_claim(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::claim_call(fcinfo, false); });
}

PG_FUNCTION_INFO_V1(once_claim_bytes);
PGDLLEXPORT Datum once_claim_bytes(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::claim_call(fcinfo, true); });
}

} // extern "C"
