#include "relay/inbox/work.hpp"

namespace once::inbox {

void Work::add(Message message) {
    sum += message.bytes();
    messages.push_back(std::move(message));
}

std::span<const Message> Work::current() const {
    const std::size_t end = ends.empty() ? messages.size() : ends.back();
    return std::span(messages).subspan(first, end - first);
}

void Work::done() {
    const auto part = current();
    for (const Message &message : part)
        sum -= message.bytes();
    first += part.size();
    while (!ends.empty() && ends.back() == first)
        ends.pop_back();
    if (empty())
        clear();
}

bool Work::split() {
    const std::size_t size = current().size();
    if (size < 2)
        return false;
    ends.push_back(first + size / 2);
    return true;
}

void Work::drop(const PlaceView &place) {
    messages.erase(messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(first));
    std::erase_if(messages, [&](const Message &message) {
        return message.partition == place.partition && message.topic == place.topic;
    });
    first = 0;
    ends.clear();
    sum = 0;
    for (const Message &message : messages)
        sum += message.bytes();
}

void Work::clear() {
    messages.clear();
    first = 0;
    ends.clear();
    sum = 0;
}

} // namespace once::inbox
