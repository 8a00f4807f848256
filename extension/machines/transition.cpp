// once.transition: moves an entity of a state machine.
//
// The check is in the UPDATE itself: `state = any(from-states of the event)` is evaluated again on
// the newest version of the row after a wait for another session, so of two rivals the second sees
// where the first left the entity. Refusals write nothing and burn no transaction id. An event id
// is looked up before; the UPDATE then demands the version that was read together with it. Each
// move raises the version in the transaction that stores its id, so an unchanged version proves
// that no id was added.
#include "arguments.hpp"
#include "machines/machine.hpp"
#include "machines/machine_event.hpp"
#include "machines/machine_lock.hpp"
#include "pg/owner.hpp"
#include "pg/row.hpp"
#include "pg/spi.hpp"
#include "pg/value.hpp"
#include "storage/keyed_table.hpp"
#include "storage/known_table.hpp"

extern "C" {
#include <tcop/utility.h>
#include <utils/array.h>
#include <utils/timestamp.h>
}

#include <optional>

namespace once {
namespace {

constexpr pg::Column kAnswer[] = {
    {"verdict", pg::kEnum}, {"from_state", TEXTOID}, {"to_state", TEXTOID}, {"version", INT8OID}};

constexpr pg::Column kEntityColumns[] = {{"machine", TEXTOID}, {"entity", TEXTOID}};
constexpr RowShape kEntityKey{kEntityColumns, 2};

struct Request {
    std::string_view machine, entity, event;
    std::optional<std::string_view> event_id;
    std::optional<int64> expected_version;
};

// Enumerators are the labels of once.transition_verdict.
enum class Verdict { moved, duplicate, late, illegal, unknown_event, unknown_entity, stale };
constexpr const char *kVerdictNames[] = {"moved",         "duplicate",      "late", "illegal",
                                         "unknown_event", "unknown_entity", "stale"};

// from_state is where the entity stands when the verdict is a refusal, and to_state is null then.
struct Answer {
    Verdict verdict;
    std::optional<std::string> from_state{}, to_state{};
    std::optional<int64> version{};
};

struct Standing {
    std::optional<std::string> state; // nothing: never seen
    int64 version = 0;
    bool event_seen = false;
};

class Transition {
  public:
    Transition(const Request &request, const Machine &machine)
        : request_(request), machine_(machine), event_(machine.event(request.event)),
          name_(pg::varlena_of(request.machine)), entity_(pg::varlena_of(request.entity)) {
        if (request.event_id)
            event_id_ = machine_event_id(request.machine, request.entity, *request.event_id);
    }

    Answer run() {
        if (is_first())
            if (auto moved = insert())
                return *moved;
        if (event_ && !request_.event_id)
            if (auto moved = update(request_.expected_version))
                return *moved;
        for (bool lost_a_race = false;; lost_a_race = true) {
            pg::call([] { CHECK_FOR_INTERRUPTS(); });
            if (lost_a_race) // wait in the row's queue once instead of racing again
                lock_row();
            const Standing standing = read();
            if (auto refused = refusal(standing))
                return *refused;
            if (auto moved = standing.state ? update(standing.version) : insert()) {
                if (event_id_)
                    remember(*event_id_);
                return *moved;
            }
        }
    }

  private:
    bool is_first() const;
    std::optional<Answer> refusal(const Standing &standing) const;
    std::optional<Answer> update(std::optional<int64> version);
    std::optional<Answer> insert();
    void lock_row();
    Standing read();
    void keep_history(const Answer &moved);

    const Request &request_;
    const Machine &machine_;
    const Machine::Event *event_;
    Datum name_, entity_;
    std::optional<MachineEventId> event_id_{};
};

// A new entity that moves. Under SERIALIZABLE a look by the transaction's snapshot at what is not
// there counts as reading its neighbours in the index, and entities that have nothing to do with
// each other would abort each other. This look does not count, nor needs it to: the INSERT decides.
bool Transition::is_first() const {
    if (!IsolationIsSerializable() || !event_ || request_.event_id ||
        request_.expected_version.value_or(0) != 0 || !machine_.target(machine_.initial(), *event_))
        return false;
    const Datum key[] = {name_, entity_};
    return pg::call([&] {
        SnapshotData dirty;
        InitDirtySnapshot(dirty);
        KeyedTable table;
        open_for_lookup(table, known_table("machine_entity"), kEntityKey, &dirty);
        const bool there = find(table, key);
        close(table);
        return !there;
    });
}

std::optional<Answer> Transition::refusal(const Standing &standing) const {
    const auto version = standing.state ? std::optional(standing.version) : std::nullopt;
    if (standing.event_seen)
        return Answer{Verdict::duplicate, standing.state, {}, version};
    if (!event_)
        return Answer{Verdict::unknown_event, standing.state, {}, version};
    if (request_.expected_version && *request_.expected_version != standing.version)
        return Answer{Verdict::stale, standing.state, {}, version};
    if (!standing.state)
        return machine_.target(machine_.initial(), *event_)
                   ? std::nullopt
                   : std::optional(Answer{Verdict::unknown_entity});
    if (machine_.target(*standing.state, *event_))
        return std::nullopt;
    const bool late = machine_.was_legal_before(*standing.state, *event_);
    return Answer{late ? Verdict::late : Verdict::illegal, standing.state, {}, version};
}

std::string text_column(int number) {
    bool null;
    const Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, &null);
    return std::string(pg::bytes_of(value));
}

Datum plain_column(int number, bool &null) {
    return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, &null);
}

// Nothing: the row is not there, not at this version, or stands where the event is not legal.
std::optional<Answer> Transition::update(std::optional<int64> version) {
    static pg::Plan plan(
        "UPDATE once.machine_entity SET previous = state, state = "
        "($4)[pg_catalog.array_position($3, state)],"
        " version = version OPERATOR(pg_catalog.+) 1, changed_at = pg_catalog.clock_timestamp() "
        "WHERE machine OPERATOR(pg_catalog.=) $1 AND entity OPERATOR(pg_catalog.=) $2 "
        "AND state OPERATOR(pg_catalog.=) ANY ($3) AND ($5 IS NULL OR version "
        "OPERATOR(pg_catalog.=) $5) "
        "RETURNING previous, state, version",
        {TEXTOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID, INT8OID});
    const pg::Spi spi;
    const Datum values[] = {name_, entity_, event_->from_states, event_->to_states,
                            Int64GetDatum(version.value_or(0))};
    plan.execute(values, version ? "     " : "    n");
    if (SPI_processed == 0)
        return std::nullopt;
    bool null;
    Answer moved{Verdict::moved, text_column(1), text_column(2),
                 DatumGetInt64(plain_column(3, null))};
    if (machine_.keeps_history())
        keep_history(moved);
    return moved;
}

// Nothing: somebody else made the entity's row.
std::optional<Answer> Transition::insert() {
    static pg::Plan plan(
        "INSERT INTO once.machine_entity (machine, entity, state, previous, version, changed_at) "
        "VALUES ($1, $2, $3, $4, 1, pg_catalog.clock_timestamp()) "
        "ON CONFLICT (machine, entity) DO NOTHING",
        {TEXTOID, TEXTOID, TEXTOID, TEXTOID});
    const std::string &target = *machine_.target(machine_.initial(), *event_);
    const pg::Spi spi;
    const Datum values[] = {name_, entity_, pg::varlena_of(target),
                            pg::varlena_of(machine_.initial())};
    plan.execute(values);
    if (SPI_processed == 0)
        return std::nullopt;
    Answer moved{Verdict::moved, machine_.initial(), target, 1};
    if (machine_.keeps_history())
        keep_history(moved);
    return moved;
}

void Transition::lock_row() {
    static pg::Plan plan("SELECT FROM once.machine_entity WHERE machine OPERATOR(pg_catalog.=) $1 "
                         "AND entity OPERATOR(pg_catalog.=) $2 FOR NO KEY UPDATE",
                         {TEXTOID, TEXTOID});
    const pg::Spi spi;
    const Datum values[] = {name_, entity_};
    plan.execute(values);
}

// One snapshot for the row and the ids: what the version check in update() relies on.
Standing Transition::read() {
    static pg::Plan plan("SELECT state, version FROM once.machine_entity "
                         "WHERE machine OPERATOR(pg_catalog.=) $1 AND entity "
                         "OPERATOR(pg_catalog.=) $2",
                         {TEXTOID, TEXTOID});
    const pg::Spi spi;
    const pg::FreshSnapshot snapshot;
    const Datum values[] = {name_, entity_};
    plan.execute(values, nullptr, true);
    Standing standing;
    if (SPI_processed > 0) {
        bool null;
        standing.state = text_column(1);
        standing.version = DatumGetInt64(plain_column(2, null));
    }
    if (event_id_)
        standing.event_seen = seen(*event_id_, snapshot.get());
    return standing;
}

void Transition::keep_history(const Answer &moved) {
    static pg::Plan plan(
        "INSERT INTO once.machine_history (machine, entity, version, event, event_id, from_state, "
        "to_state, changed_at, changed_by) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, pg_catalog.clock_timestamp(), SESSION_USER)",
        {TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID});
    const Datum values[] = {name_,
                            entity_,
                            Int64GetDatum(*moved.version),
                            pg::varlena_of(request_.event),
                            request_.event_id ? pg::varlena_of(*request_.event_id) : Datum(0),
                            pg::varlena_of(*moved.from_state),
                            pg::varlena_of(*moved.to_state)};
    plan.execute(values, request_.event_id ? "       " : "    n  ");
}

Datum result_row(FunctionCallInfo fcinfo, const Answer &answer) {
    pg::ResultRow row(fcinfo, kAnswer);
    row.set_label(0, kVerdictNames[static_cast<int>(answer.verdict)]);
    if (answer.from_state)
        row.set(1, pg::varlena_of(*answer.from_state));
    if (answer.to_state)
        row.set(2, pg::varlena_of(*answer.to_state));
    if (answer.version)
        row.set(3, Int64GetDatum(*answer.version));
    return row.datum();
}

Request request_of(FunctionCallInfo fcinfo) {
    Request request{name_argument(fcinfo, 0, "state machine"),
                    name_argument(fcinfo, 1, "entity"),
                    name_argument(fcinfo, 2, "event"),
                    {},
                    {}};
    if (!PG_ARGISNULL(3))
        request.event_id = name_argument(fcinfo, 3, "event id");
    if (!PG_ARGISNULL(4))
        request.expected_version = PG_GETARG_INT64(4);
    return request;
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_transition);
PGDLLEXPORT Datum once_transition(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const once::Request request = once::request_of(fcinfo);
        once::check_writable("once.transition()");
        once::hold_definition(request.machine);
        const auto machine = once::machine(request.machine);
        return once::result_row(fcinfo, once::Transition(request, *machine).run());
    });
}

} // extern "C"
