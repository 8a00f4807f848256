// Events that are not shipped as they come: finding the one a broker refuses, putting it aside,
// holding its key, and giving back what an operator wants shipped again. Sends nothing itself.
#pragma once

#include "relay/outbox/dead_letters.hpp"
#include "relay/outbox/lane_control.hpp"
#include "relay/outbox/lane_start.hpp"
#include "relay/outbox/source.hpp"
#include "relay/outbox/trouble.hpp"

#include <deque>
#include <optional>
#include <string>

namespace once::outbox {

class Quarantine {
  public:
    Quarantine(LaneControl &control, Source &source) : control_(control), source_(source) {}

    // What once.dead_letter holds. From here on positions rely on it, so `covered` is behind it.
    void load(StartingPoint point);
    const Cut &covered() const { return covered_; }
    bool knows_topics() const { return in_kafka_.has_value(); }

    // Takes out of the batch what must not ship on the main path. What a held key adds is put aside
    // first, committed, before the transaction that passes over it: `lsn` covers that commit.
    void screen(Batch &batch, const Position &position, const Position &head, std::string &lsn);

    // Culprits of the batch into once.dead_letter, all in one commit, which the answer covers.
    std::string put_aside(const Batch &batch, const std::vector<Culprit> &culprits,
                          const Position &position);

    // The search for a refused message: the next attempt takes half of those that can be it.
    bool searching() const { return suspects_ != 0; }
    std::size_t next_attempt() const { return (suspects_ + 1) / 2; }
    void refused(const Batch &batch, const Trouble &trouble, const Position &position);
    void passed(std::size_t events) { suspects_ -= std::min(suspects_, events); }

    // One key's wanted entries; none: nothing to redrive.
    std::optional<Redrive> next_redrive(const Position &position, ReadSize most) {
        return source_.next_redrive(position, most);
    }
    bool redrive_waiting() { return source_.redrive_waiting(); }
    void redriven(const Redrive &what, const Position &position);
    // Culprits among those that were to be shipped again.
    void refused_again(const Batch &batch, const std::vector<Culprit> &culprits);
    // The next attempt carries half of them.
    void take_back_half(const Batch &batch);

  private:
    void count_held();

    LaneControl &control_;
    Source &source_;
    DeadLetters dead_letters_;
    Cut covered_; // taken behind all that was put aside before
    std::optional<std::deque<Uuid>> in_kafka_;
    std::size_t suspects_ = 0; // a refused message is among so many next events; 0: none known
};

} // namespace once::outbox
