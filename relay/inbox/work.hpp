// The messages that were taken from Kafka and are not applied yet, in the order they came: a batch
// in hand, and a part of it that is tried next; behind it the batch that is taken meanwhile. A part
// that is refused is halved until the message that is to blame stands alone; what stood before it
// is applied by then, what follows is tried whole again.
#pragma once

#include "relay/inbox/batch.hpp"

#include <vector>

namespace once::inbox {

class Work {
  public:
    explicit Work(IdentityRule identity_rule) : rule_(std::move(identity_rule)) {}

    // To the batch in hand; once that is tried, or another stands behind it, to the next one: so
    // the order is kept, and what current() gave out stays valid.
    // `name` stands for the topic where the message has no id: see identify().
    const Entry &add(Message message, std::string_view name);

    bool empty() const { return first_ == hand_.size(); }
    // Of the batch in hand something was tried already.
    bool tried() const { return begun_; }
    const Batch &in_hand() const { return hand_; }
    const Batch &next() const { return ahead_; }

    // Not empty unless everything is.
    Part current();
    // The current part is dealt with.
    void done();
    // Halves the current part; false when it is one message.
    [[nodiscard]] bool split();

    // The partition is not ours any more, or will be read again.
    void drop(const TopicPartitionView &place);
    void clear();
    // Frees what is done, when there is time.
    void sweep() { spent_.clear(); }

  private:
    std::span<const Entry> part() const;
    void next_batch();

    const IdentityRule rule_;
    Batch hand_, ahead_, spent_;
    std::size_t first_ = 0;         // before it all is done
    std::vector<std::size_t> ends_; // ends of the nested parts inside the whole, innermost last
    bool begun_ = false;
};

} // namespace once::inbox
