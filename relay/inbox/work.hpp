// The messages that were taken from Kafka and are not applied yet, in the order they came, and the
// part of them that is tried next. A part that is refused is halved until the message that is to
// blame stands alone; what stood before it is applied by then, what follows is tried whole again.
#pragma once

#include "relay/inbox/message.hpp"
#include "relay/inbox/place.hpp"

#include <span>
#include <vector>

namespace once::inbox {

class Work {
  public:
    void add(Message message);
    bool empty() const { return first == messages.size(); }
    std::size_t size() const { return messages.size() - first; }
    std::size_t bytes() const { return sum; }

    // Not empty unless everything is.
    std::span<const Message> current() const;
    // The current part is dealt with.
    void done();
    // Halves the current part; false when it is one message.
    [[nodiscard]] bool split();

    // The partition is not ours any more, or will be read again.
    void drop(const PlaceView &place);
    void clear();

  private:
    std::vector<Message> messages;
    std::size_t first = 0;         // before it all is done
    std::vector<std::size_t> ends; // ends of the nested parts inside the whole, innermost last
    std::size_t sum = 0;
};

} // namespace once::inbox
