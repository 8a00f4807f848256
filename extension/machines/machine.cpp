// Definitions of state machines, kept per session. once.machine and once.machine_transition carry a
// statement trigger (once_machine_changed) that sends a relcache invalidation for once.machine:
// whoever writes them, every session forgets its copies when that commits, and the writer when it
// rolls back.
#include "machines/machine.hpp"

#include "errors.hpp"
#include "pg/memory.hpp"
#include "pg/owner.hpp"
#include "pg/session_cache.hpp"
#include "pg/spi.hpp"

extern "C" {
#include <commands/trigger.h>
#include <utils/array.h>
#include <utils/inval.h>
}

#include <algorithm>

namespace once {

Machine::Machine(std::string name, std::string initial, bool keeps_history)
    : name_(std::move(name)), initial_(std::move(initial)), keeps_history_(keeps_history) {
    arrays_ = pg::call([] {
        return AllocSetContextCreate(CacheMemoryContext, "once state machine",
                                     ALLOCSET_SMALL_SIZES);
    });
    intern(initial_);
}

Machine::~Machine() {
    if (arrays_)
        MemoryContextDelete(arrays_);
}

int Machine::intern(std::string_view state) {
    const auto [entry, fresh] = state_index_.try_emplace(std::string(state), states_.size());
    if (fresh) {
        states_.emplace_back(state);
        successors_.emplace_back();
        predecessors_.emplace_back();
    }
    return entry->second;
}

void Machine::add(std::string_view from, std::string_view event, std::string_view to) {
    const int source = intern(from), target = intern(to);
    const auto [entry, fresh] = event_index_.try_emplace(std::string(event), events_.size());
    if (fresh)
        events_.emplace_back();
    events_[entry->second].edges.push_back({source, entry->second, target});
    successors_[source].push_back(target);
    predecessors_[target].push_back(source);
}

void Machine::seal() {
    const auto array_of = [&](const std::vector<Edge> &edges, int Edge::*end) {
        std::vector<Datum> names;
        for (const Edge &edge : edges)
            names.push_back(pg::varlena_of(states_[edge.*end]));
        Datum *values = names.data();
        const int count = static_cast<int>(names.size());
        return pg::call([&] {
            return PointerGetDatum(
                construct_array(values, count, TEXTOID, -1, false, TYPALIGN_INT));
        });
    };
    const pg::MemoryScope scope(arrays_);
    for (Event &event : events_) {
        event.from_states = array_of(event.edges, &Edge::from);
        event.to_states = array_of(event.edges, &Edge::to);
    }
}

const Machine::Event *Machine::event(std::string_view name) const {
    const auto entry = event_index_.find(name);
    return entry == event_index_.end() ? nullptr : &events_[entry->second];
}

const std::string *Machine::target(std::string_view state, const Event &event) const {
    for (const Edge &edge : event.edges)
        if (states_[edge.from] == state)
            return &states_[edge.to];
    return nullptr;
}

bool Machine::connects(std::string_view from, std::string_view to) const {
    const auto source = state_index_.find(from), target = state_index_.find(to);
    if (source == state_index_.end() || target == state_index_.end())
        return false;
    const auto &next = successors_[source->second];
    return std::find(next.begin(), next.end(), target->second) != next.end();
}

bool Machine::was_legal_before(std::string_view present, const Event &event) const {
    const auto start = state_index_.find(present);
    if (start == state_index_.end())
        return false;
    std::vector<bool> leads_here(states_.size());
    std::vector<int> open{start->second};
    while (!open.empty()) {
        const int state = open.back();
        open.pop_back();
        for (int before : predecessors_[state])
            if (!leads_here[before]) {
                leads_here[before] = true;
                open.push_back(before);
            }
    }
    return std::any_of(event.edges.begin(), event.edges.end(),
                       [&](const Edge &edge) { return leads_here[edge.from]; });
}

namespace {

std::unordered_map<std::string, std::shared_ptr<const Machine>, pg::StringHash, std::equal_to<>>
    known;
uint64_t changes = 1;     // raised by the callback, which must do nothing else
uint64_t known_as_of = 0; // `changes` when `known` was last emptied
Oid watched = InvalidOid; // once.machine; another oid after DROP and CREATE EXTENSION

void on_relcache_invalidation(void *, Oid relation) noexcept {
    if (relation == InvalidOid || relation == watched)
        ++changes;
}

void watch(Oid relation) {
    static bool registered = false;
    if (!registered) {
        pg::call([] { pg::watch_relations(on_relcache_invalidation); });
        registered = true;
    }
    if (watched != relation) {
        watched = relation;
        ++changes;
    }
}

std::string_view column(HeapTuple row, TupleDesc shape, int number) {
    bool null;
    return pg::bytes_of(SPI_getbinval(row, shape, number, &null));
}

std::shared_ptr<const Machine> load(std::string_view name) {
    static pg::Plan definition("SELECT initial, keep_history FROM once.machine "
                               "WHERE name OPERATOR(pg_catalog.=) $1",
                               {TEXTOID});
    static pg::Plan transitions(
        "SELECT from_state, event, to_state FROM once.machine_transition "
        "WHERE machine OPERATOR(pg_catalog.=) $1 ORDER BY from_state, event",
        {TEXTOID});
    const pg::OwnerScope owner(watched);
    const pg::Spi spi;
    const Datum key = pg::varlena_of(name);
    const pg::NewestSnapshot newest;
    definition.execute({&key, 1}, newest);
    if (SPI_processed == 0)
        return nullptr;
    bool null;
    auto loaded = std::make_shared<Machine>(
        std::string(name), std::string(column(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1)),
        DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null)));
    transitions.execute({&key, 1}, newest);
    for (uint64_t i = 0; i < SPI_processed; ++i) {
        HeapTuple row = SPI_tuptable->vals[i];
        TupleDesc shape = SPI_tuptable->tupdesc;
        loaded->add(column(row, shape, 1), column(row, shape, 2), column(row, shape, 3));
    }
    loaded->seal();
    return loaded;
}

} // namespace

std::shared_ptr<const Machine> machine(std::string_view name) {
    watch(pg::relation_oid("once", "machine"));
    if (known_as_of != changes) {
        known.clear();
        known_as_of = changes;
    }
    if (const auto entry = known.find(name); entry != known.end())
        return entry->second;
    const uint64_t before = changes;
    auto loaded = load(name);
    if (!loaded)
        throw pg::Failure{kMachineDefinition,
                          "state machine \"" + std::string(name) + "\" is not defined",
                          {},
                          "Define it with once.machine_set."};
    if (before == changes) // else somebody changed it while it was read: good for this call only
        known.emplace(std::string(name), loaded);
    return loaded;
}

} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_machine_changed);
PGDLLEXPORT Datum once_machine_changed(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        if (!CALLED_AS_TRIGGER(fcinfo))
            throw pg::Failure{ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                              "not called by trigger manager"};
        const Oid relation = pg::relation_oid("once", "machine");
        pg::call([&] { CacheInvalidateRelcacheByRelid(relation); });
        return PointerGetDatum(nullptr);
    });
}

} // extern "C"
