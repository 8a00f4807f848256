// Dedup keys of once.publish: per topic, remembered in a ring (storage/ring.hpp). A key is an id as
// receivers give them: what denotes the same id is the same key.
#pragma once

#include "pg/boundary.hpp"

#include <array>
#include <string_view>

namespace once {

using EventId = std::array<unsigned char, 16>;

// The id that the key stands for: `mine` if nobody published under it before, else the first
// event's. Waits for a transaction that is publishing under the same key. REPEATABLE READ: 40001
// when somebody did after the snapshot.
[[nodiscard]] EventId claim_publish_key(Datum topic, std::string_view key, const EventId &mine);

} // namespace once
