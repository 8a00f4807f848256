// A consumer as one snapshot shows it: its settings, and which rings it has ever written to.
#pragma once

#include "storage/ring.hpp"

#include "pg/prelude.hpp"

#include <string_view>

namespace once {

// A stay in the ring of a class: from `since` on the consumer may have written there; generations
// from `until` on are not its any more. Ordered; the last stay has no end.
struct Stay {
    Class in = kDefaultClass;
    int64 since = 0;
    int64 until = PG_INT64_MAX;
};

// Trivially destructible. The default is an undeclared consumer.
struct Consumer {
    static constexpr int kMostStays = 12; // once.consumer_set keeps to it

    bool declared = false;
    bool restricted = false; // to roles
    bool reject_older = false;
    bool has_horizon = false; // what left a forgotten stay behind
    TimestampTz horizon = 0;
    int stay_count = 1;
    Stay stays[kMostStays];
};

// What the snapshot shows of it. A session remembers the consumers that it met last, and relies on
// that only where the snapshot shows the very row it read. Server world.
[[nodiscard]] Consumer consumer_of(std::string_view name, Snapshot snapshot);

// Throws ON010 for an undeclared consumer under once.strict_consumers, 42501 where it is restricted
// and `user` has none of its roles.
void check_consumer(const Consumer &consumer, std::string_view name, Oid user, Snapshot snapshot);

} // namespace once
