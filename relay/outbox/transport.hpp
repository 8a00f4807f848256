// What carries messages, as the control sees it: transactions whose last message is the checkpoint.
// No call here tries anything twice; the caller decides by the outcome.
#pragma once

#include "relay/kafka/outcome.hpp"
#include "relay/outbox/event.hpp"
#include "relay/outbox/position.hpp"
#include "relay/outbox/trouble.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace once::outbox {

// What is known of a batch before it is sent.
struct Preparation {
    enum class Kind {
        ready,   // but for the culprits, it can be sent
        pending, // brokers are being asked
        away,    // nobody answers
        topics,  // some of its topics cannot be written to
        batches, // producers with smaller requests are needed
    };
    Kind kind = Kind::ready;
    std::string text;
    std::vector<Trouble> unusable; // topics
    std::vector<Culprit> culprits; // refused for certain: brokers would take the rest
};

class Transport {
  public:
    using Timeout = std::chrono::milliseconds;
    virtual ~Transport() = default;

    // New producers under both transactional ids; whoever had them is fenced and finished.
    // Before that, the brokers say that they are this cluster.
    virtual Outcome open(const std::string &incarnation, const std::string &cluster,
                         Timeout timeout) = 0;
    virtual void close() noexcept = 0; // whatever is open is dropped; waits for a commit under way
    virtual void abandon() noexcept = 0; // the same without waiting: the process ends

    // A transaction, step by step: prepare until ready (its topics are known) · fill (begins it on
    // the next producer of the ring, hands over messages with positions from first_counter on, the
    // checkpoint last) · flush until ok · commit (returns at once) · await_commit until ok. fill
    // may follow commit before await_commit when the ring has a free producer.
    virtual Preparation prepare(const Batch &batch, Timeout timeout) = 0;
    virtual Outcome fill(const Batch &batch, std::int64_t first_counter,
                         const Position &position) = 0;
    virtual Outcome flush(Timeout timeout) = 0;
    virtual void commit() = 0;
    virtual bool committing() const = 0;
    // Of the oldest commit: ok = the brokers hold it. Nothing under way is ok, too.
    virtual Outcome await_commit(Timeout timeout) = 0;
    virtual std::size_t ring() const = 0;

    virtual const Trouble &trouble() const = 0; // of the last step that was not ok
};

} // namespace once::outbox
