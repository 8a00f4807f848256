// What a refusal has to say when a database is not the one a lane was shipped from: how many
// messages Kafka has that it lacks, and which. Only looks.
#pragma once

#include "relay/outbox/checkpoint.hpp"
#include "relay/outbox/lane_control.hpp"
#include "relay/outbox/source.hpp"

#include <string>

namespace once::outbox {

// A sentence; the ids go to the log.
std::string at_stake(LaneControl &control, Source &source, Checkpoint &checkpoint,
                     const Identity &identity, const Position &shipped);

} // namespace once::outbox
