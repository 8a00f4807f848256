// What a step of a Kafka transaction came to, as far as the caller has to care. Made from the flags
// of an error (relay/kafka/classify.hpp), never from its code.
#pragma once

#include <string_view>

namespace once {

enum class Outcome {
    ok,
    retry, // the same call again, later
    abort, // this transaction is lost: recycle the producers, the position tells what was committed
    fatal, // this producer is lost; it says nothing about what was committed
};

constexpr std::string_view to_string(Outcome outcome) {
    switch (outcome) {
    case Outcome::ok:
        return "ok";
    case Outcome::retry:
        return "retry";
    case Outcome::abort:
        return "abort";
    case Outcome::fatal:
        return "fatal";
    }
    return "unknown";
}

} // namespace once
