// A lane's life: takes the lane, finds the position, ships, and after anything irregular throws the
// producers away, reads the position back and goes on from it. The order of the parts is here, what
// each does is theirs; lane_state.cpp has the table of states.
//
// Sees only the interfaces of source, transport, checkpoint and time; knows no SQLSTATE and no
// error code.
#pragma once

#include "relay/outbox/lane_control.hpp"
#include "relay/outbox/lane_start.hpp"
#include "relay/outbox/quarantine.hpp"
#include "relay/outbox/shipper.hpp"
#include "relay/outbox/transactions.hpp"

namespace once::outbox {

class Pipeline {
  public:
    Pipeline(const Options &options, bool until_empty, int lane, Source &source,
             Transport &transport, Checkpoint &checkpoint, Timing &timing, LaneMetrics &metrics);

    // Until asked to stop or, with until_empty, until nothing is left. Throws Refusal.
    void run();

  private:
    // False: nothing is left for us to do.
    bool hold_lane();
    void lost(const std::string &why);

    Source &source_;
    Transport &transport_;
    Checkpoint &checkpoint_;
    LaneControl control_;
    Transactions transactions_;
    LaneStart start_;
    Quarantine quarantine_;
    Shipper shipper_;
};

} // namespace once::outbox
