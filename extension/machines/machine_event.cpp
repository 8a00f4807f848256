#include "machines/machine_event.hpp"

#include "digest/digest.hpp"
#include "digest/message_id.hpp"
#include "pg/utf8.hpp"
#include "storage/key_run.hpp"
#include "storage/ring.hpp"

extern "C" {
#include <utils/snapmgr.h>
}

#include <algorithm>

namespace once {

MachineEventId machine_event_id(std::string_view machine, std::string_view entity,
                                std::string_view event_id) {
    MachineEventId event{owner_of("machine", machine), {}};
    const Digest128 digest = digest128({pg::utf8(entity), pg::utf8(event_id)});
    std::copy(digest.begin(), digest.end(), event.id.data);
    return event;
}

// The present generation too: who wrote there changed the entity's row, which our caller locks.
bool seen(const MachineEventId &event, Snapshot snapshot) {
    return pg::call([&] {
        const RingState ring = ring_state(Ring::machine_event, snapshot);
        const Datum key[] = {Int64GetDatum(event.machine), UUIDPGetDatum(&event.id)};
        bool found = false;
        for (int64 serial = ring.open; serial > ring.open - kRingSlots && !found; --serial) {
            const Oid heap = ring_table(Ring::machine_event, serial);
            if (ring.generation(serial) == Generation::retired || has_no_rows(heap))
                continue;
            KeyedTable table;
            open_for_lookup(table, heap, kOwnedIds, snapshot);
            found = find(table, key);
            close(table);
        }
        return found;
    });
}

void remember(const MachineEventId &event) {
    pg::call([&] {
        PushActiveSnapshot(GetTransactionSnapshot());
        const Snapshot snapshot = GetActiveSnapshot();
        const RingState ring = ring_state(Ring::machine_event, snapshot);
        KeyedTable table;
        open_for_insert(table, ring_table(Ring::machine_event, ring.open), kOwnedIds);
        const Datum row[] = {Int64GetDatum(event.machine), UUIDPGetDatum(&event.id)};
        (void)insert(table, row, snapshot);
        close(table);
        PopActiveSnapshot();
        CommandCounterIncrement(); // what the same statement does next sees it
    });
}

} // namespace once
