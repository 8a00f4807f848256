// once.accept, accept_event and accept_many: is this id new to this consumer?
//
// Per key: look into the read-only generations under the snapshot, then insert into the closing
// one (if a handover is under way) and into the open one. `new` only if every insert succeeded. The
// state that says which tables these are is read under the same snapshot as the lookups: see
// sql/schema/generations/ring.sql.
#include "arguments.hpp"
#include "errors.hpp"
#include "inbox/key_memory.hpp"
#include "digest/message_id.hpp"
#include "storage/key_run.hpp"
#include "storage/keyed_table.hpp"
#include "pg/array.hpp"
#include "pg/attempt.hpp"
#include "pg/boundary.hpp"
#include "pg/compat.hpp"
#include "pg/memory.hpp"
#include "pg/row.hpp"
#include "verdict.hpp"

extern "C" {
#include <utils/snapmgr.h>
#include <utils/timestamp.h>
}

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

namespace once {
namespace {

enum class Verdict { fresh, duplicate, too_old };
constexpr const char *kVerdicts[] = {"new", "duplicate", "too_old"};

// Below it a batch is decided key by key: a transaction that calls accept_many for every few ids
// must not fill the server's list of subtransactions.
constexpr size_t kFewKeys = 32;

struct Asked {
    MessageId id;
    std::optional<TimestampTz> made_at;
    int ordinal; // from 0
};

// Decides key after key with the tables held open. Server world, trivially destructible.
struct Decider {
    const KeyMemory *memory;
    Snapshot snapshot;
    int look_count = 0; // those with rows
    bool writing = false;
    bool walking = false;
    KeyedTable *looks = nullptr;
    KeyedTable *inserts = nullptr;
    KeyWalk *look_walks = nullptr;
    KeyWalk *insert_walks = nullptr;
    KeyRun *runs = nullptr; // what is new and not yet written

    void begin(const KeyMemory &of, Snapshot under) {
        memory = &of;
        snapshot = under;
        looks = array_of<KeyedTable>(of.look_count);
        for (int i = 0; i < of.look_count; ++i)
            if (!has_no_rows(of.look[i]))
                open_for_lookup(looks[look_count++], of.look[i], kOwnedIds, snapshot);
    }

    // For keys in ascending order.
    void begin_walks() {
        walking = true;
        look_walks = array_of<KeyWalk>(look_count);
        for (int i = 0; i < look_count; ++i)
            begin_walk(look_walks[i], looks[i], memory->owner, snapshot);
    }

    void begin_writing() {
        if (writing)
            return;
        writing = true;
        inserts = array_of<KeyedTable>(memory->insert_count);
        for (int i = 0; i < memory->insert_count; ++i)
            open_for_insert(inserts[i], memory->insert[i], kOwnedIds);
        if (!walking)
            return;
        insert_walks = array_of<KeyWalk>(memory->insert_count);
        runs = array_of<KeyRun>(memory->insert_count);
        for (int i = 0; i < memory->insert_count; ++i) {
            begin_walk(insert_walks[i], inserts[i], memory->owner, &inserts[i].dirty);
            begin_run(runs[i], inserts[i], memory->owner);
        }
    }

    Verdict decide(const Asked &asked) {
        const Datum row[] = {Int64GetDatum(memory->owner), UUIDPGetDatum(&asked.id.key)};
        for (int i = 0; i < look_count; ++i)
            if ((!walking || !absent(look_walks[i], row[1])) && find(looks[i], row))
                return Verdict::duplicate;
        if (asked.made_at && memory->reject_older) {
            if (memory->forgot && *asked.made_at <= memory->horizon)
                return known_although_old(row) ? Verdict::duplicate : Verdict::too_old;
            note_time_ahead(*memory, *asked.made_at, snapshot);
        }
        begin_writing();
        return walking ? add_to_runs(row) : insert_into_each(row);
    }

    Verdict insert_into_each(const Datum *row) {
        for (int i = 0; i < memory->insert_count; ++i)
            if (insert(inserts[i], row, snapshot) == Insertion::present)
                return Verdict::duplicate;
        return Verdict::fresh;
    }

    // What is new is written when a run is full, or by the end.
    Verdict add_to_runs(const Datum *row) {
        bool fresh = true;
        for (int i = 0; i < memory->insert_count; ++i)
            fresh = absent(insert_walks[i], row[1]) && fresh;
        if (!fresh) { // what is below it must be there before anybody is waited for
            write_runs();
            return insert_into_each(row);
        }
        bool full = false;
        for (int i = 0; i < memory->insert_count; ++i)
            full = add(runs[i], row[1]) || full;
        if (full)
            write_runs();
        return Verdict::fresh;
    }

    void write_runs() {
        for (int i = 0; i < memory->insert_count; ++i)
            write(runs[i]);
    }

    // An old id that came late the first time stands in a generation that still takes keys.
    bool known_although_old(const Datum *row) const {
        bool known = false;
        for (int i = 0; i < memory->insert_count && !known; ++i) {
            KeyedTable table;
            open_for_lookup(table, memory->insert[i], kOwnedIds, snapshot);
            known = find(table, row);
            close(table);
        }
        return known;
    }

    void end() {
        if (writing && walking) {
            for (int i = 0; i < memory->insert_count; ++i)
                end_run(runs[i]);
            for (int i = 0; i < memory->insert_count; ++i)
                end_walk(insert_walks[i]);
        }
        for (int i = 0; walking && i < look_count; ++i)
            end_walk(look_walks[i]);
        for (int i = 0; i < look_count; ++i)
            close(looks[i]);
        for (int i = 0; writing && i < memory->insert_count; ++i)
            close(inserts[i]);
    }

  private:
    template <typename T> static T *array_of(int count) {
        return static_cast<T *>(palloc0(sizeof(T) * static_cast<Size>(std::max(count, 1))));
    }
};

// The memory of a consumer under the active snapshot, which the statement holds to its end.
KeyMemory memory_of(std::string_view consumer) {
    check_name(consumer, "consumer", kInvalidConsumer);
    const Snapshot snapshot = GetActiveSnapshot();
    const Consumer found = consumer_of(consumer, snapshot);
    check_consumer(found, consumer, GetUserId(), snapshot);
    const int64 owner = owner_of("consumer", consumer);
    return pg::call([&] { return key_memory(found, owner, snapshot); });
}

// When the id was made: as the caller says, or by the id itself.
std::optional<TimestampTz> made_at(const MessageId &id, std::optional<TimestampTz> told) {
    return told ? told : id.made_at;
}

Verdict accept_one(FunctionCallInfo fcinfo, IdType type, int id_at, int sent_at) {
    require_argument(fcinfo, 0, "consumer");
    require_argument(fcinfo, id_at, "id");
    check_writable("once.accept()");
    const KeyMemory memory = memory_of(pg::bytes_of(PG_GETARG_DATUM(0)));
    const MessageId id = message_id(type, PG_GETARG_DATUM(id_at));
    const std::optional<TimestampTz> told =
        PG_ARGISNULL(sent_at) ? std::nullopt : std::optional(PG_GETARG_TIMESTAMPTZ(sent_at));
    const Asked asked{id, made_at(id, told), 0};
    return pg::call([&] {
        Decider decider{};
        decider.begin(memory, GetActiveSnapshot());
        const Verdict decided = decider.decide(asked);
        decider.end();
        return decided;
    });
}

// accept: (consumer, id, sent_at).
Datum accept(FunctionCallInfo fcinfo, IdType type) {
    static ReturnedVerdicts verdicts[4]; // an overload each
    return verdicts[static_cast<int>(type)].of(fcinfo, kVerdicts,
                                               static_cast<int>(accept_one(fcinfo, type, 1, 2)));
}

// accept_event: (consumer, id, id_bytes, sent_at).
Datum accept_event(FunctionCallInfo fcinfo) {
    if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2))
        throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "more than one id is given"};
    const bool bytes = !PG_ARGISNULL(2);
    const Verdict verdict =
        accept_one(fcinfo, bytes ? IdType::bytea : IdType::text, bytes ? 2 : 1, 3);
    static ReturnedVerdicts verdicts;
    return verdicts.of(fcinfo, kVerdicts, static_cast<int>(verdict));
}

std::vector<Asked> asked_of(FunctionCallInfo fcinfo, IdType type, const pg::Elements &ids) {
    const pg::Elements times = pg::elements_of(fcinfo, 2, "sent_at", TIMESTAMPTZOID);
    if (!PG_ARGISNULL(2) && times.count != ids.count)
        throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE,
                          "sent_at must have as many elements as ids"};
    std::vector<Asked> asked(ids.count);
    for (int i = 0; i < ids.count; ++i) {
        if (ids.null[i])
            throw pg::Failure{ERRCODE_NULL_VALUE_NOT_ALLOWED, "id must not be null"};
        const MessageId id = message_id(type, ids.value[i]);
        const std::optional<TimestampTz> told =
            times.has(i) ? std::optional(DatumGetTimestampTz(times.value[i])) : std::nullopt;
        asked[i] = {id, made_at(id, told), i};
    }
    return asked;
}

// The verdict of a key that stands in the input more than once: the first of them decides.
Verdict repeated(Verdict first) {
    return first == Verdict::fresh ? Verdict::duplicate : first;
}

// Within pg::call. Walking, what is absent is written in runs; else key by key.
void decide_each(const KeyMemory &memory, std::span<const Asked> sorted, std::span<Verdict> out,
                 bool walk) {
    Decider decider{};
    decider.begin(memory, GetActiveSnapshot());
    if (walk)
        decider.begin_walks();
    const Asked *previous = nullptr;
    for (const Asked &one : sorted) {
        if (previous && previous->id == one.id) {
            out[one.ordinal] = repeated(out[previous->ordinal]);
            continue;
        }
        out[one.ordinal] = decider.decide(one);
        previous = &one;
    }
    decider.end();
}

// Keys whose index entries lie close together are looked for in one walk, and what is absent is
// written all at once: two thirds of the cost. A key that is met is decided in its turn, after all
// below it were written. False: another session was quicker with a key after we had passed it;
// nothing has happened then. Costs an xid more.
bool decide_at_once(const KeyMemory &memory, std::span<const Asked> sorted,
                    std::span<Verdict> out) {
    return pg::attempt(ERRCODE_UNIQUE_VIOLATION, [&] { decide_each(memory, sorted, out, true); });
}

// In the order of the keys, which is the same in every session: overlapping batches wait for each
// other in one direction only. Of equal keys the first in the input decides.
std::vector<Verdict> decide_all(const KeyMemory &memory, std::vector<Asked> &asked) {
    std::sort(asked.begin(), asked.end(), [](const Asked &a, const Asked &b) {
        const auto order = a.id <=> b.id;
        return order != 0 ? order < 0 : a.ordinal < b.ordinal;
    });
    std::vector<Verdict> verdicts(asked.size());
    if (asked.size() < kFewKeys || !decide_at_once(memory, asked, verdicts))
        pg::call([&] { decide_each(memory, asked, verdicts, false); });
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

Datum accept_many(FunctionCallInfo fcinfo, IdType type, Oid element) {
    require_argument(fcinfo, 0, "consumer");
    require_argument(fcinfo, 1, "ids");
    check_writable("once.accept_many()");
    pg::ResultRows rows;
    pg::call([&] { rows.begin(fcinfo, kAnswer); });
    const pg::Elements ids = pg::elements_of(fcinfo, 1, "ids", element);
    const KeyMemory memory = memory_of(pg::bytes_of(PG_GETARG_DATUM(0)));
    if (ids.count > 0) {
        std::vector<Asked> asked = asked_of(fcinfo, type, ids);
        return_rows(rows, decide_all(memory, asked));
    }
    return static_cast<Datum>(0);
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_accept_bigint);
PGDLLEXPORT Datum once_accept_bigint(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::accept(fcinfo, once::IdType::bigint); });
}

PG_FUNCTION_INFO_V1(once_accept_uuid);
PGDLLEXPORT Datum once_accept_uuid(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::accept(fcinfo, once::IdType::uuid); });
}

PG_FUNCTION_INFO_V1(once_accept_text);
PGDLLEXPORT Datum once_accept_text(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::accept(fcinfo, once::IdType::text); });
}

PG_FUNCTION_INFO_V1(once_accept_bytea);
PGDLLEXPORT Datum once_accept_bytea(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::accept(fcinfo, once::IdType::bytea); });
}

PG_FUNCTION_INFO_V1(once_accept_event);
PGDLLEXPORT Datum once_accept_event(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::accept_event(fcinfo); });
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

} // extern "C"
