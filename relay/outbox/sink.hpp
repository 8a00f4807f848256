// Where events go, as the pipeline sees it: Kafka transactions whose last message is the position.
// No call here tries anything twice; the pipeline's loop decides by the outcome.
#pragma once

#include "relay/outbox/event.hpp"
#include "relay/outbox/position.hpp"
#include "relay/kafka/outcome.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace once::outbox {

// Why the last step that was not ok was not.
struct Trouble {
    enum class Kind {
        weather, // may go away by itself
        topic,   // a topic is missing or not ours to write
        message, // a message was refused for good
        fenced,  // somebody took our transactional id
        unclean, // committed, but not cleanly: rule R1
    };
    Kind kind = Kind::weather;
    std::string text;
    std::string topic;
    std::size_t suspects = 0; // the refused message is among the first so many of the batch
    bool forbidden = false;   // the brokers know us and give us no right to it
    bool for_time = false;    // refused for its time: too old, or our clock is not the broker's
};

// A record of ours in the position topic.
struct Record {
    Position position;
    std::int64_t offset = 0;
};

struct ReadBack {
    Outcome outcome = Outcome::ok;
    std::optional<Record> record; // none: there is none, which is no error
};

class Sink {
  public:
    using Timeout = std::chrono::milliseconds;
    virtual ~Sink() = default;

    // Brokers answer; the position topic is there and of the right kind (made if it may be). Throws
    // Refusal for wrong settings, or a topic that is missing and may not be made. Fills
    // cluster_id().
    virtual Outcome reach(bool may_create) = 0;
    virtual const std::string &cluster_id() const = 0;

    // The last record of (incarnation, lane) that read_committed readers see now; fences nobody.
    virtual ReadBack peek(const std::string &incarnation, std::optional<std::int64_t> hint) = 0;

    // New producers under both transactional ids; whoever had them is fenced and finished.
    virtual Outcome open(const std::string &incarnation, Timeout timeout) = 0;
    // After open: commits a record of our own, whose place is the end, and reads up to it.
    virtual ReadBack read_back(std::optional<std::int64_t> hint, Timeout timeout) = 0;
    virtual void close() noexcept = 0; // whatever is open is dropped; waits for a commit under way
    virtual void abandon() noexcept = 0; // the same without waiting: the process ends

    // A transaction, step by step: fill (begins it on the next producer of the ring, hands over
    // messages with positions from first_counter on, the record last) · flush until ok · commit
    // (returns at once) · settle until ok. fill may follow commit before settle when the ring has a
    // free producer.
    virtual Outcome prepare(const Batch &batch, Timeout timeout) = 0; // topics are known
    virtual Outcome fill(const Batch &batch, std::int64_t first_counter,
                         const Position &position) = 0;
    virtual Outcome flush(Timeout timeout) = 0;
    virtual void commit() = 0;
    virtual bool committing() const = 0;
    // Of the oldest commit: ok = the brokers hold it. Nothing under way is ok, too.
    virtual Outcome settle(Timeout timeout) = 0;
    virtual std::size_t ring() const = 0;

    virtual std::int64_t
    record_offset() const = 0; // of the position in the last flushed transaction
    virtual const Trouble &trouble() const = 0;

    // The ids of all messages of this source (once-source, or the beginning of it) in these topics,
    // from a publish time on, each with its once-position (0: none that can be read).
    using Seen = std::function<void(const Uuid &id, std::int64_t counter)>;
    virtual Outcome scan(const std::vector<std::string> &topics, const std::string &source_prefix,
                         std::int64_t since_ms, const Seen &seen) = 0;
};

} // namespace once::outbox
