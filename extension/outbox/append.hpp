// Writes events into the child tables, past executor and SPI: one row, two index entries, nothing
// else. The transaction's id is assigned before the first number is drawn: the rule that batches
// rest on (a number drawn in a transaction that a snapshot does not see is higher than any drawn
// before that snapshot's xmax).
#pragma once

#include "outbox/event.hpp"

#include <span>

namespace once {

struct Written {
    int64_t seq;
    unsigned char id[16];
};

// A uuid of version 7 for an event, 16 bytes.
void new_id(TimestampTz now, unsigned char *id);

[[nodiscard]] Written append(const Event &event);

// In the order of the events: their numbers rise.
void append_many(std::span<const Event> events);

} // namespace once
