// How long to wait before the next attempt: doubling from a floor to a ceiling, each wait between
// half and all of it, so that relays which failed together do not come back together.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace once {

class Backoff {
  public:
    Backoff(std::chrono::milliseconds floor, std::chrono::milliseconds ceiling,
            std::uint64_t seed = std::random_device()())
        : floor_ms_(floor), ceiling_ms_(ceiling), current_(floor), state_(seed | 1) {}

    std::chrono::milliseconds next() {
        const auto whole = current_.count();
        current_ = std::min(current_ * 2, ceiling_ms_);
        state_ ^= state_ << 13, state_ ^= state_ >> 7, state_ ^= state_ << 17; // xorshift64
        return std::chrono::milliseconds(whole - whole / 2 +
                                         static_cast<long>(state_ % (whole / 2 + 1)));
    }
    void reset() { current_ = floor_ms_; }

  private:
    std::chrono::milliseconds floor_ms_, ceiling_ms_, current_;
    std::uint64_t state_;
};

} // namespace once
