// This host's idea of the time, which the database's and the brokers' need not share: for what is
// shown and for message times, never for decisions about order or progress.
#pragma once

#include <chrono>
#include <cstdint>

namespace once::outbox {

inline constexpr const char *kClocksDiffer = "the clocks of this host and of the broker differ";

// Milliseconds since 1970.
inline std::int64_t wall_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

} // namespace once::outbox
