// One Kafka transaction after the other, in the turns of rule R7, and the position that the last
// one carried. Says how a transaction ended; what follows from it is the caller's.
#pragma once

#include "relay/outbox/checkpoint.hpp"
#include "relay/outbox/lane_control.hpp"
#include "relay/outbox/source.hpp"
#include "relay/outbox/transport.hpp"

#include <optional>

namespace once::outbox {

// A transaction that was handed over, until its end is known.
struct Shipment {
    Position position;
    std::int64_t offset = 0;
    std::size_t read = 0; // from the source, those put aside among them
    std::size_t events = 0, bytes = 0;
    std::int64_t oldest_ms = 0; // publish time of its oldest event
    Timing::Instant begun{};    // before its first message
    bool redrive = false;
    bool alone = false; // its end is awaited before anything else begins
};

// Any end of a transaction but a clean commit. The producers are spent.
struct Irregular {
    const char *step = "";
    Outcome outcome = Outcome::ok;
    Trouble trouble;
    bool asked_to_commit = false; // the transaction that was handed over, so it may be committed
};
using End = std::optional<Irregular>; // none: nothing irregular

class Transactions {
  public:
    using Span = Timing::Span;
    // A commit whose end is still unknown then is given up; the position will tell.
    static constexpr Span kCommitPatience{30000};

    Transactions(LaneControl &control, Source &source, Transport &transport, Checkpoint &checkpoint)
        : control_(control), source_(source), transport_(transport), checkpoint_(checkpoint) {}

    void go_on_from(const Position &position, std::optional<std::int64_t> offset);
    void forget() { under_way_.reset(); } // the producers are gone

    const Position &position() const { return position_; } // last one known to be committed
    const Position &head() const { return head_; } // of the last transaction that was handed over
    std::optional<std::int64_t> offset() const { return offset_; } // of a record of ours

    // Ends when the transaction before is known to be committed and this one commits. With
    // shipment.alone: when this one is committed.
    [[nodiscard]] End hand_over(const Batch &batch, Shipment shipment);
    // Without patience it may still run when this returns.
    [[nodiscard]] End await_commit(Span patience);
    // A position and nothing else: genesis, or an operator's answer.
    [[nodiscard]] End commit_alone(const Position &position);

  private:
    Outcome flush();
    void committed(const Shipment &shipment);
    Irregular irregular(const char *step, Outcome outcome, Trouble why);

    LaneControl &control_;
    Source &source_;
    Transport &transport_;
    Checkpoint &checkpoint_;
    Position position_;
    Position head_;
    std::optional<std::int64_t> offset_;
    std::optional<Shipment> under_way_;
};

} // namespace once::outbox
