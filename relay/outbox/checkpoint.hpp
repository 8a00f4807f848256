// Where the position of a lane is kept, as the control sees it, and what else Kafka can be asked
// when somebody has to decide.
#pragma once

#include "relay/kafka/outcome.hpp"
#include "relay/outbox/event.hpp"
#include "relay/outbox/position.hpp"
#include "relay/outbox/trouble.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace once::outbox {

// A record of ours in the checkpoint topic.
struct Record {
    Position position;
    std::int64_t offset = 0;
};

struct ReadBack {
    Outcome outcome = Outcome::ok;
    std::optional<Record> record; // none: there is none, which is no error
};

class Checkpoint {
  public:
    using Timeout = std::chrono::milliseconds;
    virtual ~Checkpoint() = default;

    // Brokers answer; the checkpoint topic is there and of the right kind (made if it may be).
    // Throws Refusal for wrong settings, or a topic that is missing and may not be made. Fills
    // cluster_id().
    virtual Outcome reach(bool may_create) = 0;
    virtual const std::string &cluster_id() const = 0;

    // The last record of (incarnation, lane) that read_committed readers see now; fences nobody.
    virtual ReadBack peek(const std::string &incarnation, std::optional<std::int64_t> hint) = 0;
    // After Transport::open: commits a record of our own, whose place is the end, and reads up to
    // it.
    virtual ReadBack read_back(std::optional<std::int64_t> hint, Timeout timeout) = 0;
    // Of the record in the last flushed transaction.
    virtual std::int64_t record_offset() const = 0;

    // The ids of all messages of this source (once-source, or the beginning of it) in these topics,
    // from a publish time on, each with its once-position (0: none that can be read).
    using Seen = std::function<void(const Uuid &id, std::int64_t counter)>;
    virtual Outcome scan(const std::vector<std::string> &topics, const std::string &source_prefix,
                         std::int64_t since_ms, const Seen &seen) = 0;

    virtual const Trouble &trouble() const = 0; // of the last call that was not ok
};

} // namespace once::outbox
