// Why a step towards Kafka was not ok, in words and in what the control has to tell apart.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace once::outbox {

// A message of the batch that is refused for certain, and why.
struct Culprit {
    std::size_t index = 0;
    std::string reason;
};

struct Trouble {
    enum class Kind {
        transient, // may go away by itself
        topic,     // a topic is missing or not ours to write
        message,   // a message was refused for good
        fenced,    // somebody took our transactional id
        batches,   // requests were too large, though no message is: the next ones are smaller
        unclean,   // committed, but not cleanly: rule R1
    };
    Kind kind = Kind::transient;
    std::string text;
    std::string topic;
    std::vector<Culprit> culprits; // in order; where there are none, somebody has to search
    std::size_t suspects = 0;      // the refused message is among the first so many of the batch
    bool forbidden = false;        // the brokers know us and give us no right to it
    bool permanent = false;        // the same request will never be taken, whoever waits
    std::string hint;              // what to do about it
    std::string cluster;           // that answered instead of the one expected
    bool for_size = false;         // refused for its size: its own or its request's
    bool for_time = false; // refused for its time: too old, or our clock is not the broker's
};

} // namespace once::outbox
