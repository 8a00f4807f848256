#include "relay/inbox/work.hpp"

#include <utility>

namespace once::inbox {

const Entry &Work::add(Message message, std::string_view name) {
    return (begun_ || ahead_.size() > 0 ? ahead_ : hand_).add(std::move(message), rule_, name);
}

std::span<const Entry> Work::part() const {
    const std::size_t end = ends_.empty() ? hand_.size() : ends_.back();
    return hand_.entries().subspan(first_, end - first_);
}

Part Work::current() {
    begun_ = true;
    const auto entries = part();
    return {entries, entries.size() == hand_.size() ? &hand_ : nullptr};
}

void Work::done() {
    begun_ = true;
    first_ += part().size();
    while (!ends_.empty() && ends_.back() == first_)
        ends_.pop_back();
    if (empty())
        next_batch();
}

void Work::next_batch() {
    spent_.clear();
    std::swap(spent_, hand_);
    std::swap(hand_, ahead_);
    first_ = 0;
    ends_.clear();
    begun_ = false;
}

bool Work::split() {
    const std::size_t size = part().size();
    if (size < 2)
        return false;
    ends_.push_back(first_ + size / 2);
    return true;
}

void Work::drop(const TopicPartitionView &place) {
    hand_.drop(place, first_);
    ahead_.drop(place, 0);
    first_ = 0;
    ends_.clear();
    if (empty())
        next_batch();
}

void Work::clear() {
    hand_.clear();
    ahead_.clear();
    spent_.clear();
    first_ = 0;
    ends_.clear();
    begun_ = false;
}

} // namespace once::inbox
