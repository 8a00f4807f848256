// The transport over librdkafka: a ring of transactional producers that take turns.
#pragma once

#include "relay/options.hpp"
#include "relay/outbox/producer.hpp"
#include "relay/outbox/transport.hpp"
#include "relay/process/metrics.hpp"

#include <memory>
#include <vector>

namespace once::outbox {

class KafkaTransport : public Transport {
  public:
    KafkaTransport(const Options &options, LaneMetrics &metrics);
    ~KafkaTransport() override { KafkaTransport::close(); }

    Outcome open(const std::string &incarnation, Timeout timeout) override;
    void close() noexcept override;
    void abandon() noexcept override;
    Outcome prepare(const Batch &batch, Timeout timeout) override;
    Outcome fill(const Batch &batch, std::int64_t first_counter, const Position &position) override;
    Outcome flush(Timeout timeout) override;
    void commit() override;
    bool committing() const override { return committer_ != nullptr; }
    Outcome await_commit(Timeout timeout) override;
    std::size_t ring() const override { return ring_size_; }
    const Trouble &trouble() const override { return why_; }

    // After open: a transaction of one record in the checkpoint topic.
    Outcome commit_record(const std::string &key, const std::string &value, Timeout timeout);
    // In that topic, of the record in the last flushed transaction.
    std::int64_t record_offset() const { return offset_; }
    // <incarnation>/<lane>, of the last open.
    const std::string &source() const { return source_; }

  private:
    Outcome noted(Outcome outcome, const Producer &producer);
    void note_partitions(const std::string &topic, int count);
    Outcome produce_all(Producer &producer, const Batch &batch, std::int64_t first_counter);
    Outcome refuse_forged(std::size_t index);
    Outcome position_by_itself(Producer &producer);
    Outcome produce_position(Producer &producer, const std::string &key, const std::string &value);

    const Options &options_;
    const int lane_;
    TopicPartitions &partitions_;
    const std::size_t ring_size_;
    std::string source_;
    std::vector<std::unique_ptr<Producer>> producers_;
    std::size_t turn_ = 0;
    Producer *filled_ = nullptr;    // begun, not committing yet
    Producer *committer_ = nullptr; // committing
    std::string value_;             // of the record, alive until its report
    std::int64_t offset_ = -1;
    Trouble why_;
};

} // namespace once::outbox
