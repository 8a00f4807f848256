// How long to wait before the next attempt: doubling from a floor to a ceiling, each wait between
// half and all of it, so that relays which failed together do not come back together.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace once {

class Backoff {
  public:
    Backoff(std::chrono::milliseconds floor, std::chrono::milliseconds ceiling,
            std::uint64_t seed = 0x9e3779b97f4a7c15)
        : floor_ms(floor), ceiling_ms(ceiling), current(floor), state(seed | 1) {}

    std::chrono::milliseconds next() {
        const auto whole = current.count();
        current = std::min(current * 2, ceiling_ms);
        state ^= state << 13, state ^= state >> 7, state ^= state << 17; // xorshift64
        return std::chrono::milliseconds(whole - whole / 2 +
                                         static_cast<long>(state % (whole / 2 + 1)));
    }
    void reset() { current = floor_ms; }

  private:
    std::chrono::milliseconds floor_ms, ceiling_ms, current;
    std::uint64_t state;
};

} // namespace once
