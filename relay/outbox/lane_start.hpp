// From nothing to a checkpoint that shipping may go on from: lane, history, fencing, start record,
// checkpoint, genesis.
#pragma once

#include "relay/outbox/checkpoint.hpp"
#include "relay/outbox/lane_control.hpp"
#include "relay/outbox/source.hpp"
#include "relay/outbox/transactions.hpp"
#include "relay/outbox/transport.hpp"

#include <deque>
#include <optional>

namespace once::outbox {

// Where shipping goes on. Kafka holds it, the database has been told of it.
struct StartingPoint {
    Position position;
    // While the position's mode is `missing`: sorted ids of this database that the topics have.
    // A vector would need up to three times as much to grow.
    std::optional<std::deque<Uuid>> in_kafka;
};

class LaneStart {
  public:
    LaneStart(LaneControl &control, Source &source, Transport &transport, Checkpoint &checkpoint,
              Transactions &transactions);

    // Waits for the lane. False: nothing to do for us.
    bool take_lane();
    // Before anybody is fenced: Kafka holds the position, and it was shipped from here. Throws
    // Refusal. False: asked to stop.
    bool prove_history();
    // New producers; then what Kafka holds is the truth. None: asked to stop. Throws Refusal.
    // `topics_read`: in_kafka is known from before.
    std::optional<StartingPoint> recover(bool topics_read);

    const Identity &identity() const { return identity_; }

  private:
    bool reach_kafka();
    void fence_replaced();
    void not_now(const char *event, const Trouble &trouble);
    void require_same_cluster(const std::string &expected, const std::string &found);
    void require_same_history(const Position &position);
    void require_position_or_first_start(bool found);
    void require_no_step_back(const Position &found);
    bool reopen(ReadBack &back);
    bool adopt(const ReadBack &back);
    bool begin(const ReadBack &back);
    bool first_start();
    bool continue_as_asked(); // rearm mode 'continue'
    std::optional<std::deque<Uuid>> ids_in_kafka();

    LaneControl &control_;
    Source &source_;
    Transport &transport_;
    Checkpoint &checkpoint_;
    Transactions &transactions_;
    Identity identity_;
    std::string cluster_; // that the lane ships to
    bool armed_ = false;
    bool ours_ = false; // since the position in transactions_ nobody but us held the lane
    std::optional<std::int64_t> hint_; // offset of a record of ours
};

} // namespace once::outbox
