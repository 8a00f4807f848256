// The checkpoint in a topic: its records are written by the transport, inside the transactions they
// tell of, and read back here.
#pragma once

#include "relay/options.hpp"
#include "relay/outbox/checkpoint.hpp"
#include "relay/outbox/checkpoint_topic.hpp"
#include "relay/outbox/kafka_transport.hpp"

namespace once::outbox {

class KafkaCheckpoint : public Checkpoint {
  public:
    // The pulse may end long reads early; they are then not known.
    KafkaCheckpoint(const Options &options, int lane, KafkaTransport &transport,
                    kafka::Pulse pulse);

    Outcome reach(bool may_create) override;
    const std::string &cluster_id() const override { return topic_.cluster_id(); }
    ReadBack peek(const std::string &incarnation, std::optional<std::int64_t> hint) override;
    ReadBack read_back(std::optional<std::int64_t> hint, Timeout timeout) override;
    std::int64_t record_offset() const override { return transport_.record_offset(); }
    Outcome scan(const std::vector<std::string> &topics, const std::string &source_prefix,
                 std::int64_t since_ms, const Seen &seen) override;
    const Trouble &trouble() const override { return why_; }

  private:
    const int lane_;
    KafkaTransport &transport_;
    CheckpointTopic topic_;
    Trouble why_;
};

} // namespace once::outbox
