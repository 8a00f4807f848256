// The sink over librdkafka: a ring of transactional producers that take turns, and the position
// log.
#pragma once

#include "relay/process/metrics.hpp"
#include "relay/options.hpp"
#include "relay/outbox/position_log.hpp"
#include "relay/outbox/producer.hpp"
#include "relay/outbox/sink.hpp"

#include <memory>
#include <vector>

namespace once::outbox {

class KafkaSink : public Sink {
  public:
    // `stopping` ends long reads early; they are then not known.
    KafkaSink(const Options &options, LaneMetrics &metrics, std::function<bool()> stopping);
    ~KafkaSink() override { KafkaSink::close(); }

    Outcome reach(bool may_create) override;
    const std::string &cluster_id() const override { return log_->cluster_id(); }
    ReadBack peek(const std::string &incarnation, std::optional<std::int64_t> hint) override;
    Outcome open(const std::string &incarnation, Timeout timeout) override;
    ReadBack read_back(std::optional<std::int64_t> hint, Timeout timeout) override;
    void close() noexcept override;
    void abandon() noexcept override;
    Outcome prepare(const Batch &batch, Timeout timeout) override;
    Outcome fill(const Batch &batch, std::int64_t first_counter, const Position &position) override;
    Outcome flush(Timeout timeout) override;
    void commit() override;
    bool committing() const override { return committer_ != nullptr; }
    Outcome settle(Timeout timeout) override;
    std::size_t ring() const override { return ring_size_; }
    std::int64_t record_offset() const override { return offset_; }
    const Trouble &trouble() const override { return why_; }
    Outcome scan(const std::vector<std::string> &topics, const std::string &source,
                 std::int64_t since_ms, const Seen &seen) override;

  private:
    Outcome told(Outcome outcome, const Producer &producer);
    void note_partitions(const std::string &topic, int count);
    Outcome commit_start_record(Timeout timeout);
    Outcome produce_all(Producer &producer, const Batch &batch, std::int64_t first_counter);
    Outcome refuse_forged(std::size_t index);
    Outcome position_by_itself(Producer &producer);
    Outcome produce_position(Producer &producer, const std::string &key, const std::string &value);

    const Options &options_;
    const int lane_;
    TopicPartitions &partitions_;
    const std::size_t ring_size_;
    std::string source_; // <incarnation>/<lane>
    std::unique_ptr<PositionLog> log_;
    std::vector<std::unique_ptr<Producer>> producers_;
    std::size_t turn_ = 0;
    Producer *filled_ = nullptr;    // begun, not committing yet
    Producer *committer_ = nullptr; // committing
    std::string value_;             // of the record, alive until its report
    std::int64_t offset_ = -1;
    Trouble why_;
};

} // namespace once::outbox
