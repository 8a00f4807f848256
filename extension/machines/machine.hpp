// A state machine's definition as this session knows it: read once from once.machine and
// once.machine_transition, forgotten whenever anybody commits a change to them.
//
// Freshness: the definition is read with the newest snapshot, not the transaction's. Who holds it
// (machine_lock), or has a guarded table locked for writing, has one that stays true until his
// transaction ends: machine_set takes locks that conflict before it removes states.
#pragma once

#include "pg/session_cache.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace once {

using IndexByName = std::unordered_map<std::string, int, pg::StringHash, std::equal_to<>>;

class Machine {
  public:
    struct Edge {
        int from, event, to;
    };
    // The edges of one event, and the same as two text[] for the UPDATE.
    struct Event {
        std::vector<Edge> edges;
        Datum from_states, to_states;
    };

    Machine(std::string name, std::string initial, bool keeps_history);
    ~Machine();
    Machine(const Machine &) = delete;
    Machine &operator=(const Machine &) = delete;

    void add(std::string_view from, std::string_view event, std::string_view to);
    void seal(); // after the last add(): builds the arrays

    [[nodiscard]] const std::string &name() const noexcept { return name_; }
    [[nodiscard]] const std::string &initial() const noexcept { return initial_; }
    [[nodiscard]] bool keeps_history() const noexcept { return keeps_history_; }
    // nullptr: no transition of this machine names the event.
    [[nodiscard]] const Event *event(std::string_view name) const;
    // Where the event leads from the state; nullptr: it is not legal there.
    [[nodiscard]] const std::string *target(std::string_view state, const Event &event) const;
    // Some event leads from one state to the other.
    [[nodiscard]] bool connects(std::string_view from, std::string_view to) const;
    // The event was legal in a state from which `present` is reachable.
    [[nodiscard]] bool was_legal_before(std::string_view present, const Event &event) const;

  private:
    int intern(std::string_view state);

    std::string name_, initial_;
    bool keeps_history_;
    IndexByName state_index_, event_index_;
    std::vector<std::string> states_;
    std::vector<Event> events_;
    std::vector<std::vector<int>> successors_, predecessors_; // by state
    MemoryContext arrays_ = nullptr;
};

// Throws ON031 when nobody defined it. Needs a transaction; connects SPI by itself when it must
// read.
std::shared_ptr<const Machine> machine(std::string_view name);

} // namespace once
