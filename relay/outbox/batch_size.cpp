#include "relay/outbox/batch_size.hpp"

#include <algorithm>

namespace once::outbox {
namespace {

// A transaction shorter than this part of `worth` tells of round trips, not of the rate.
constexpr int kTellingPart = 5;
// Good transactions before the first attempt near a size that failed, doubled by each failure.
constexpr std::size_t kFirstCaution = 16;
constexpr std::size_t kMostCaution = 4096;
// A thousand bytes are one event and its headers; an event larger than that goes alone.
constexpr std::size_t kLeastBytes = 1000;

std::size_t half(std::size_t value, std::size_t least) {
    return std::max(value / 2, least);
}

std::size_t quarter_more(std::size_t value, std::size_t most) {
    return std::min(value + value / 4 + 1, most);
}

// Enough of what was allowed for the answer to mean anything. The source guesses the rows from
// their average size: a piece that a limit ended may be well below it, and would hold it for ever.
bool filled(const ReadSize &carried, const ReadSize &allowed, bool full) {
    return full || carried.rows >= allowed.rows / 2 || carried.bytes >= allowed.bytes / 2;
}

} // namespace

ReadSize BatchSize::next() const {
    return {now_.rows, std::clamp(rate_bytes_, kLeastBytes, now_.bytes)};
}

void BatchSize::failed(ReadSize tried) {
    const ReadSize allowed = next();
    tried = {std::clamp<std::size_t>(tried.rows, 1, allowed.rows),
             std::clamp(tried.bytes, std::min(kLeastBytes, allowed.bytes), allowed.bytes)};
    // Grown into the same wall: wait longer before the next attempt.
    const bool again = passed_since_ && wall_.rows != 0 && tried.rows >= wall_.rows / 2;
    caution_ = again ? std::min(caution_ * 2, kMostCaution) : kFirstCaution;
    passed_since_ = false;
    wall_ = tried;
    now_ = {half(tried.rows, 1), half(tried.bytes, kLeastBytes)};
    good_ = 0;
}

void BatchSize::passed(ReadSize carried, Span took, bool full) {
    const ReadSize allowed = next();
    if (took >= worth_ / kTellingPart) {
        const double worth = static_cast<double>(carried.bytes) *
                             static_cast<double>(worth_.count()) /
                             static_cast<double>(took.count());
        rate_bytes_ = std::clamp(static_cast<std::size_t>(worth), kLeastBytes, most_.bytes);
    } else if (full || carried.bytes >= rate_bytes_ / 2) {
        rate_bytes_ = std::min(rate_bytes_ * 2, most_.bytes);
    }
    passed_since_ = true;
    ++good_;
    if (carried.rows >= wall_.rows || carried.bytes >= wall_.bytes)
        wall_ = {}; // it was not the size
    if (!filled(carried, allowed, full))
        return;
    const ReadSize grown{quarter_more(now_.rows, most_.rows),
                         quarter_more(now_.bytes, most_.bytes)};
    if (may_grow(grown))
        now_ = grown;
}

// Below three quarters of what failed at once; above, one step for `caution_` good ones.
bool BatchSize::may_grow(const ReadSize &grown) {
    if (wall_.rows == 0)
        return true;
    if (grown.rows <= wall_.rows * 3 / 4 && grown.bytes <= wall_.bytes * 3 / 4)
        return true;
    if (good_ < caution_)
        return false;
    good_ = 0;
    return true;
}

} // namespace once::outbox
