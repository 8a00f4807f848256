// How many attempts in place the inbox can afford. Each pauses every partition of the member: while
// one message is refused that is nothing, in a storm of them it would be all the time there is.
#pragma once

#include <algorithm>
#include <cstdint>

namespace once::inbox {

class RetryBudget {
  public:
    static constexpr int kMost = 20;
    static constexpr std::int64_t kOneMoreMs = 5000;

    explicit RetryBudget(std::int64_t now_ms) : filled_at_ms_(now_ms) {}

    // Whether one more attempt is affordable; it is paid for.
    [[nodiscard]] bool take(std::int64_t now_ms) {
        const std::int64_t more = (now_ms - filled_at_ms_) / kOneMoreMs;
        filled_at_ms_ += more * kOneMoreMs;
        left_ = static_cast<int>(std::min<std::int64_t>(kMost, left_ + more));
        if (left_ == 0)
            return false;
        --left_;
        return true;
    }

  private:
    int left_ = kMost;
    std::int64_t filled_at_ms_;
};

} // namespace once::inbox
