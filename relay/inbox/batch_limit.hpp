// How many messages go into one transaction: as many as take a few seconds at the rate measured,
// and never so many that the group gives the member up before they are done.
//
// Without it a batch that outlives max.poll.interval.ms is begun again by the next owner of the
// partition, as large as before, and outlives it again.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace once::inbox {

class BatchLimit {
  public:
    // SIGTERM lets a transaction run so long.
    static constexpr std::int64_t kMostMs = 5000;
    // Nothing is measured yet: a handler of a second a message has done these before anybody
    // misses the member.
    static constexpr std::size_t kFirstRows = 64;

    BatchLimit(std::size_t max_rows, std::int64_t max_poll_interval_ms)
        : most_(max_rows),
          budget_ms_(std::clamp<std::int64_t>(max_poll_interval_ms / 4, 1, kMostMs)),
          rows_(std::min(max_rows, kFirstRows)) {}

    std::size_t rows() const { return rows_; }
    std::int64_t budget_ms() const { return budget_ms_; }
    // Fewer than the operator allows, because they take too long.
    bool limited() const { return limited_; }

    // `rows` went through in so many milliseconds.
    void took(std::size_t rows, std::int64_t ms) {
        // A small batch says little about a large one: a fixed cost is most of it.
        if (rows == 0 || (2 * rows < rows_ && ms <= budget_ms_))
            return;
        std::size_t affordable = most_;
        if (ms > 0)
            affordable = std::clamp<std::size_t>(rows * static_cast<std::size_t>(budget_ms_) /
                                                     static_cast<std::size_t>(ms),
                                                 1, most_);
        rows_ = std::min(affordable, std::max(rows_, 2 * rows));
        limited_ = affordable < most_ && rows_ == affordable;
    }
    // It did not go through: the connection was lost or the group had given us up meanwhile.
    void failed() {
        rows_ = std::max<std::size_t>(1, rows_ / 2);
        limited_ = true;
    }

  private:
    std::size_t most_;
    std::int64_t budget_ms_;
    std::size_t rows_;
    bool limited_ = false;
};

} // namespace once::inbox
