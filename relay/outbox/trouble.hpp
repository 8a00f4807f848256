// Why a step towards Kafka was not ok, in words and in what the control has to tell apart.
#pragma once

#include <cstddef>
#include <string>

namespace once::outbox {

struct Trouble {
    enum class Kind {
        transient, // may go away by itself
        topic,     // a topic is missing or not ours to write
        message,   // a message was refused for good
        fenced,    // somebody took our transactional id
        unclean,   // committed, but not cleanly: rule R1
    };
    Kind kind = Kind::transient;
    std::string text;
    std::string topic;
    std::size_t suspects = 0; // the refused message is among the first so many of the batch
    bool forbidden = false;   // the brokers know us and give us no right to it
    bool for_time = false;    // refused for its time: too old, or our clock is not the broker's
};

} // namespace once::outbox
