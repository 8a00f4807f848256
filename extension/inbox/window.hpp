// A window over positions that may come out of order (RFC 6479 without the spare block): the
// highest position seen, and a bit for it and each of the 8,191 below. Constant time and memory
// whatever the gap.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace once {

class Window {
  public:
    static constexpr int64_t kSize = 8192;
    // A jump that no source makes: taking it would wipe the window and turn all real positions into
    // "too old".
    static constexpr int64_t kFarthestJump = int64_t{1} << 40;

    enum class Verdict { fresh, duplicate, too_old, implausible };

    // An unseen source: its first position may be anything.
    Window() = default;
    Window(int64_t highest, const uint8_t *bits) : highest_(highest), seen_any_(true) {
        for (size_t i = 0; i < bits_.size(); ++i)
            bits_[i] = bits[i];
    }

    [[nodiscard]] int64_t highest() const { return highest_; }
    [[nodiscard]] const std::array<uint8_t, kSize / 8> &bits() const { return bits_; }

    // What accept() would say, without doing it. Negative positions are implausible.
    [[nodiscard]] Verdict check(int64_t position) const {
        if (position < 0)
            return Verdict::implausible;
        if (!seen_any_)
            return Verdict::fresh;
        if (position > highest_)
            return position - highest_ > kFarthestJump ? Verdict::implausible : Verdict::fresh;
        if (position <= highest_ - kSize)
            return Verdict::too_old;
        return test(position) ? Verdict::duplicate : Verdict::fresh;
    }

    Verdict accept(int64_t position) {
        const Verdict verdict = check(position);
        if (verdict != Verdict::fresh)
            return verdict;
        if (!seen_any_ || position > highest_) {
            if (seen_any_)
                clear_between(highest_, position);
            highest_ = position;
            seen_any_ = true;
        }
        bits_[index(position)] |= mask(position);
        return verdict;
    }

  private:
    static size_t index(int64_t position) { return static_cast<size_t>(position % kSize) / 8; }
    static uint8_t mask(int64_t position) { return static_cast<uint8_t>(1U << (position % 8)); }
    [[nodiscard]] bool test(int64_t position) const {
        return (bits_[index(position)] & mask(position)) != 0;
    }

    // Positions above `low` and up to `high` enter the window, unseen; at most once around.
    void clear_between(int64_t low, int64_t high) {
        if (high - low >= kSize) {
            bits_.fill(0);
            return;
        }
        // Counted by steps: behind the highest position there is none that an int64 can hold.
        for (int64_t done = 0; done < high - low;) {
            const int64_t position = low + 1 + done;
            if (position % 8 == 0 && high - position >= 7) {
                bits_[index(position)] = 0;
                done += 8;
            } else {
                bits_[index(position)] &= static_cast<uint8_t>(~mask(position));
                done++;
            }
        }
    }

    int64_t highest_ = 0;
    bool seen_any_ = false;
    std::array<uint8_t, kSize / 8> bits_{};
};

} // namespace once
