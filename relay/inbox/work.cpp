#include "relay/inbox/work.hpp"

#include <utility>

namespace once::inbox {

void Work::add(Message message, std::string_view name) {
    (begun || ahead.size() > 0 ? ahead : hand).add(std::move(message), rule, name);
}

std::span<const Entry> Work::part() const {
    const std::size_t end = ends.empty() ? hand.size() : ends.back();
    return hand.entries().subspan(first, end - first);
}

Part Work::current() {
    begun = true;
    const auto entries = part();
    return {entries, entries.size() == hand.size() ? &hand : nullptr};
}

void Work::done() {
    begun = true;
    first += part().size();
    while (!ends.empty() && ends.back() == first)
        ends.pop_back();
    if (empty())
        next_batch();
}

void Work::next_batch() {
    spent.clear();
    std::swap(spent, hand);
    std::swap(hand, ahead);
    first = 0;
    ends.clear();
    begun = false;
}

bool Work::split() {
    const std::size_t size = part().size();
    if (size < 2)
        return false;
    ends.push_back(first + size / 2);
    return true;
}

void Work::drop(const TopicPartitionView &place) {
    hand.drop(place, first);
    ahead.drop(place, 0);
    first = 0;
    ends.clear();
    if (empty())
        next_batch();
}

void Work::clear() {
    hand.clear();
    ahead.clear();
    spent.clear();
    first = 0;
    ends.clear();
    begun = false;
}

} // namespace once::inbox
