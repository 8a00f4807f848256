// How long, how many: counts by upper bound, as Prometheus wants them. A writer never waits: one
// atomic add for the bucket, one for the sum. Readers may see an observation in the one and not yet
// in the other.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace once {

class Histogram {
  public:
    static constexpr std::size_t kMostBounds = 16;

    // `bounds`: ascending upper bounds (inclusive), in the unit of what is observed; must outlive
    // the histogram. What is above the last one counts in +Inf alone.
    explicit Histogram(std::span<const double> bounds)
        : bounds_(bounds.first(std::min(bounds.size(), kMostBounds))) {}

    void observe(double value) noexcept {
        const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value);
        counts_[static_cast<std::size_t>(bucket - bounds_.begin())].fetch_add(
            1, std::memory_order_relaxed);
        double sum = sum_.load(std::memory_order_relaxed);
        while (!sum_.compare_exchange_weak(sum, sum + value, std::memory_order_relaxed)) {
        }
    }

    std::span<const double> bounds() const noexcept { return bounds_; }
    // Observations in bucket i alone; bounds().size() is the one above all bounds.
    std::uint64_t count(std::size_t i) const noexcept {
        return counts_[i].load(std::memory_order_relaxed);
    }
    double sum() const noexcept { return sum_.load(std::memory_order_relaxed); }

  private:
    std::span<const double> bounds_;
    std::array<std::atomic<std::uint64_t>, kMostBounds + 1> counts_{};
    std::atomic<double> sum_{0};
};

// 1 ms to 60 s: a Kafka transaction takes 5 to 50 ms, a standstill is bounded by 15 s.
inline constexpr std::array<double, 14> kSecondsBounds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                       0.25,  0.5,    1,     2.5,  5,     15,   60};
inline constexpr std::array<double, 10> kEventsBounds{1,   3,    10,   30,    100,
                                                      300, 1000, 3000, 10000, 30000};

} // namespace once
