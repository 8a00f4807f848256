// Ids of the events that moved an entity, in the ring "machine_event": the owner is the machine.
#pragma once

#include "pg/boundary.hpp"

extern "C" {
#include <utils/snapshot.h>
#include <utils/uuid.h>
}

#include <string_view>

namespace once {

struct MachineEventId {
    int64 machine;
    pg_uuid_t id;
};

[[nodiscard]] MachineEventId machine_event_id(std::string_view machine, std::string_view entity,
                                              std::string_view event_id);

// Whether the snapshot shows it. The entity's row settles races: its version, read under the same
// snapshot, rises in the transaction that remembers an id.
[[nodiscard]] bool seen(const MachineEventId &event, Snapshot snapshot);
void remember(const MachineEventId &event);

} // namespace once
