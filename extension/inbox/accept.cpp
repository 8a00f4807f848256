// once.accept and once.accept_many: is this id new to this consumer?
//
// Per key: look into the read-only generations under the snapshot, then insert into the closing one
// (if a handover is under way) and into the open one. `new` only if every insert succeeded. The
// state that says which tables these are is read under the same snapshot as the lookups: see
// sql/schema/inbox/generation.sql.
#include "arguments.hpp"
#include "errors.hpp"
#include "inbox/key_memory.hpp"
#include "storage/key_run.hpp"
#include "storage/keyed_table.hpp"
#include "pg/attempt.hpp"
#include "pg/array.hpp"
#include "pg/boundary.hpp"
#include "pg/compat.hpp"
#include "pg/row.hpp"
#include "pg/memory.hpp"
#include "verdict.hpp"

extern "C" {
#include <utils/snapmgr.h>
#include <utils/timestamp.h>
}

#include <algorithm>
#include <span>
#include <vector>

namespace once {
namespace {

enum class Verdict { fresh, duplicate, too_old };
constexpr const char *kVerdicts[] = {"new", "duplicate", "too_old"};

// Below it a batch is decided key by key: a transaction that calls accept_many for every few ids
// must not fill the server's list of subtransactions.
constexpr size_t kFewKeys = 32;

// The tables of keys are of two kinds.
constexpr pg::Column kNumber[] = {{"id", INT8OID}};
constexpr pg::Column kUuid[] = {{"id", UUIDOID}};

RowShape shape_of(const Memory &memory) {
    return memory.type == IdType::bigint ? RowShape{kNumber, 1} : RowShape{kUuid, 1};
}

Datum key_datum(const Memory &memory, const StoredKey &key) {
    return memory.type == IdType::bigint ? Int64GetDatum(key.number) : UUIDPGetDatum(&key.bytes);
}

// Decides key after key with the tables held open. Server world, trivially destructible.
struct Decider {
    const Memory *memory;
    Snapshot snapshot;
    TimestampTz horizon;
    int old_count = 0;
    bool writing = false;
    KeyedTable old_tables[kSlots];
    KeyedTable closing;
    KeyedTable open;
    bool walking = false;
    KeyWalk old_walks[kSlots];
    KeyWalk open_walk;
    KeyRun run; // what is new in the open one and not yet written

    // Expired generations count as forgotten even while they are still there. Only a consumer that
    // promises too_old looks into them: it must not call an id new that it may have seen.
    void begin(const Memory &of, Snapshot under) {
        memory = &of;
        snapshot = under;
        horizon = of.horizon;
        const TimestampTz now = GetCurrentTimestamp();
        for (int i = 0; i < of.read_only_count; ++i) {
            const ReadOnlyGeneration &generation = of.read_only[i];
            const bool expired = generation.expires_at <= now;
            if (expired)
                horizon = std::max(horizon, generation.closed_at);
            if (!expired || of.reject_older)
                open_for_lookup(old_tables[old_count++], generation.table, shape_of(of), snapshot);
        }
    }

    void begin_writing() {
        if (writing)
            return;
        if (OidIsValid(memory->closing))
            open_for_insert(closing, memory->closing, shape_of(*memory));
        open_for_insert(open, memory->open, shape_of(*memory));
        if (walking) {
            begin_walk(open_walk, open, &open.dirty);
            begin_run(run, open);
        }
        writing = true;
    }

    Verdict decide(const StoredKey &key, TimestampTz made_at) {
        const Datum datum = key_datum(*memory, key);
        for (int i = 0; i < old_count; ++i)
            if (find(old_tables[i], &datum))
                return Verdict::duplicate;
        if (too_old(made_at))
            return known_although_old(datum) ? Verdict::duplicate : Verdict::too_old;
        begin_writing();
        if (closing.heap && insert(closing, &datum, snapshot) == Insertion::present)
            return Verdict::duplicate;
        return insert(open, &datum, snapshot) == Insertion::present ? Verdict::duplicate
                                                                    : Verdict::fresh;
    }

    // For keys in ascending order, and only while no generation is closing.
    void begin_walks() {
        walking = true;
        for (int i = 0; i < old_count; ++i)
            begin_walk(old_walks[i], old_tables[i], snapshot);
    }

    // The same for keys in ascending order; what is new is written by the end.
    Verdict decide_in_run(const StoredKey &key, TimestampTz made_at) {
        const Datum datum = key_datum(*memory, key);
        for (int i = 0; i < old_count; ++i)
            if (!absent(old_walks[i], datum) && find(old_tables[i], &datum))
                return Verdict::duplicate;
        if (too_old(made_at))
            return known_although_old(datum) ? Verdict::duplicate : Verdict::too_old;
        begin_writing();
        if (absent(open_walk, datum)) {
            add(run, datum);
            return Verdict::fresh;
        }
        write(run); // so that what is below it is there before anybody is waited for
        return insert(open, &datum, snapshot) == Insertion::present ? Verdict::duplicate
                                                                    : Verdict::fresh;
    }

    bool too_old(TimestampTz made_at) const {
        return memory->reject_older && made_at != DT_NOBEGIN && made_at <= horizon;
    }

    // An old id that came late the first time stands in a generation that still takes keys.
    bool known_although_old(Datum key) const {
        for (const Oid heap : {memory->closing, memory->open}) {
            if (!OidIsValid(heap))
                continue;
            KeyedTable table;
            open_for_lookup(table, heap, shape_of(*memory), snapshot);
            const bool known = find(table, &key);
            close(table);
            if (known)
                return true;
        }
        return false;
    }

    void end() {
        for (int i = 0; walking && i < old_count; ++i)
            end_walk(old_walks[i]);
        if (walking && writing) {
            end_run(run);
            end_walk(open_walk);
        }
        for (int i = 0; i < old_count; ++i)
            close(old_tables[i]);
        if (writing && closing.heap)
            close(closing);
        if (writing)
            close(open);
    }
};

// When the id was made: told by the caller, or by the id itself.
TimestampTz made_at(const StoredKey &key, TimestampTz told) {
    return told != DT_NOBEGIN ? told : key.time;
}

Datum accept_one(FunctionCallInfo fcinfo, IdType argument) {
    require_argument(fcinfo, 0, "consumer");
    require_argument(fcinfo, 1, "id");
    check_writable("once.accept()");
    const View view(pg::bytes_of(PG_GETARG_DATUM(0)), argument);
    const Memory &memory = view.memory();
    const StoredKey key = stored_key(memory.type, argument, PG_GETARG_DATUM(1));
    const TimestampTz made = made_at(key, PG_ARGISNULL(2) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(2));
    const Verdict verdict = pg::call([&] {
        Decider decider{};
        decider.begin(memory, view.snapshot());
        const Verdict decided = decider.decide(key, made);
        decider.end();
        return decided;
    });
    static ReturnedVerdicts verdicts[4]; // an overload each
    return verdicts[static_cast<int>(argument)].of(fcinfo, kVerdicts, static_cast<int>(verdict));
}

struct Asked {
    StoredKey key;
    TimestampTz made;
    int ordinal; // from 0
};

std::vector<Asked> asked_of(FunctionCallInfo fcinfo, const Memory &memory, IdType argument,
                            const pg::Elements &ids) {
    const pg::Elements times = pg::elements_of(fcinfo, 2, "sent_at", TIMESTAMPTZOID);
    if (!PG_ARGISNULL(2) && times.count != ids.count)
        throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE,
                          "sent_at must have as many elements as ids"};
    std::vector<Asked> asked(ids.count);
    for (int i = 0; i < ids.count; ++i) {
        if (ids.null[i])
            throw pg::Failure{ERRCODE_NULL_VALUE_NOT_ALLOWED, "id must not be null"};
        const StoredKey key = stored_key(memory.type, argument, ids.value[i]);
        asked[i] = {
            key, made_at(key, times.has(i) ? DatumGetTimestampTz(times.value[i]) : DT_NOBEGIN), i};
    }
    return asked;
}

// The verdict of a key that stands in the input more than once: the first of them decides.
Verdict repeated(Verdict first) {
    return first == Verdict::fresh ? Verdict::duplicate : first;
}

// Within pg::call. Walking, what is absent is written in runs; else key by key.
void decide_each(const View &view, std::span<const Asked> sorted, std::span<Verdict> out,
                 bool walk) {
    Decider decider{};
    decider.begin(view.memory(), view.snapshot());
    if (walk)
        decider.begin_walks();
    const Asked *previous = nullptr;
    for (const Asked &one : sorted) {
        if (previous && previous->key == one.key) {
            out[one.ordinal] = repeated(out[previous->ordinal]);
            continue;
        }
        out[one.ordinal] =
            walk ? decider.decide_in_run(one.key, one.made) : decider.decide(one.key, one.made);
        previous = &one;
    }
    decider.end();
}

// Keys whose index entries lie close together are looked for in one walk, and what is absent is
// written all at once: two thirds of the cost. A key that is met is decided in its turn, after all
// below it were written. False: another session was quicker with a key after we had passed it;
// nothing has happened then. Costs an xid more.
bool decide_at_once(const View &view, std::span<const Asked> sorted, std::span<Verdict> out) {
    return pg::attempt(ERRCODE_UNIQUE_VIOLATION, [&] { decide_each(view, sorted, out, true); });
}

// In the order of the keys, which is the same in every session: overlapping batches wait for each
// other in one direction only. Of equal keys the first in the input decides.
std::vector<Verdict> decide_all(const View &view, std::vector<Asked> &asked) {
    std::sort(asked.begin(), asked.end(), [](const Asked &a, const Asked &b) {
        const auto order = a.key <=> b.key;
        return order != 0 ? order < 0 : a.ordinal < b.ordinal;
    });
    std::vector<Verdict> verdicts(asked.size());
    const bool worth_it = asked.size() >= kFewKeys && !OidIsValid(view.memory().closing);
    if (!worth_it || !decide_at_once(view, asked, verdicts))
        pg::call([&] { decide_each(view, asked, verdicts, false); });
    return verdicts;
}

// In input order.
constexpr pg::Column kAnswer[] = {{"ordinal", INT4OID}, {"verdict", pg::kEnum}};

void return_rows(pg::ResultRows rows, std::span<const Verdict> verdicts) {
    pg::call([&] {
        Datum labels[3];
        for (int i = 0; i < 3; ++i)
            labels[i] = pg::enum_datum(rows.type_of(1), kVerdicts[i]);
        for (size_t i = 0; i < verdicts.size(); ++i) {
            const Datum values[] = {Int32GetDatum(static_cast<int32>(i + 1)),
                                    labels[static_cast<int>(verdicts[i])]};
            rows.put(values);
        }
    });
}

Datum accept_many(FunctionCallInfo fcinfo, IdType argument, Oid element) {
    require_argument(fcinfo, 0, "consumer");
    require_argument(fcinfo, 1, "ids");
    check_writable("once.accept_many()");
    pg::ResultRows rows;
    pg::call([&] { rows.begin(fcinfo, kAnswer); });
    const pg::Elements ids = pg::elements_of(fcinfo, 1, "ids", element);
    const std::string_view consumer = pg::bytes_of(PG_GETARG_DATUM(0));
    check_name(consumer, "consumer", kInvalidConsumer);
    if (ids.count > 0) {
        const View view(consumer, argument);
        std::vector<Asked> asked = asked_of(fcinfo, view.memory(), argument, ids);
        return_rows(rows, decide_all(view, asked));
    }
    return static_cast<Datum>(0);
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_accept_bigint);
PGDLLEXPORT Datum once_accept_bigint(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::accept_one(fcinfo, once::IdType::bigint); });
}

PG_FUNCTION_INFO_V1(once_accept_uuid);
PGDLLEXPORT Datum once_accept_uuid(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::accept_one(fcinfo, once::IdType::uuid); });
}

PG_FUNCTION_INFO_V1(once_accept_text);
PGDLLEXPORT Datum once_accept_text(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::accept_one(fcinfo, once::IdType::text); });
}

PG_FUNCTION_INFO_V1(once_accept_bytea);
PGDLLEXPORT Datum once_accept_bytea(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::accept_one(fcinfo, once::IdType::bytea); });
}

PG_FUNCTION_INFO_V1(once_accept_many_bigint);
PGDLLEXPORT Datum once_accept_many_bigint(PG_FUNCTION_ARGS) {
    return pg::entry(
        [&]() -> Datum { return once::accept_many(fcinfo, once::IdType::bigint, INT8OID); });
}

PG_FUNCTION_INFO_V1(once_accept_many_uuid);
PGDLLEXPORT Datum once_accept_many_uuid(PG_FUNCTION_ARGS) {
    return pg::entry(
        [&]() -> Datum { return once::accept_many(fcinfo, once::IdType::uuid, UUIDOID); });
}

PG_FUNCTION_INFO_V1(once_accept_many_text);
PGDLLEXPORT Datum once_accept_many_text(PG_FUNCTION_ARGS) {
    return pg::entry(
        [&]() -> Datum { return once::accept_many(fcinfo, once::IdType::text, TEXTOID); });
}

PG_FUNCTION_INFO_V1(once_accept_many_bytea);
PGDLLEXPORT Datum once_accept_many_bytea(PG_FUNCTION_ARGS) {
    return pg::entry(
        [&]() -> Datum { return once::accept_many(fcinfo, once::IdType::bytea, BYTEAOID); });
}

} // extern "C"
