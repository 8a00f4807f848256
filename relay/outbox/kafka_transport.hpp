// The transport over librdkafka: a ring of transactional producers that take turns.
#pragma once

#include "relay/options.hpp"
#include "relay/outbox/producer.hpp"
#include "relay/outbox/transport.hpp"
#include "relay/process/metrics.hpp"

#include <map>
#include <memory>
#include <vector>

namespace once::outbox {

class KafkaTransport : public Transport {
  public:
    KafkaTransport(const Options &options, LaneMetrics &metrics, kafka::Pulse pulse);
    ~KafkaTransport() override { KafkaTransport::close(); }

    Outcome open(const std::string &incarnation, const std::string &cluster,
                 Timeout timeout) override;
    void close() noexcept override;
    void abandon() noexcept override;
    Preparation prepare(const Batch &batch, Timeout timeout) override;
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
    Outcome away(const std::string &reason);
    Outcome noted(Outcome outcome, const Producer &producer);
    void note_partitions(const std::string &topic, int count);
    TopicQuestion unknown_of(const Batch &batch, const Producer &producer) const;
    void learn(const TopicAnswers &answers);
    Preparation judge(const Batch &batch, TopicQuestion &doubtful) const;
    bool lower_batch_size(int size, const std::string &topic);
    Outcome refused(const Batch &batch, Outcome outcome);
    Outcome produce_all(Producer &producer, const Batch &batch, std::int64_t first_counter);
    Outcome position_by_itself(Producer &producer);
    Outcome produce_position(Producer &producer, const std::string &key, const std::string &value);

    const Options &options_;
    const int lane_;
    TopicPartitions &partitions_;
    const std::size_t ring_size_;
    const kafka::Pulse pulse_;
    const bool compressed_; // then sizes on the wire are not known
    // Of topics, as brokers told; and when an event was last judged by them.
    std::map<std::string, TopicFacts, std::less<>> facts_;
    std::map<std::string, std::chrono::steady_clock::time_point, std::less<>> asked_, explained_;
    int batch_size_; // of a request: what all topics seen so far take
    std::string source_;
    std::vector<std::unique_ptr<Producer>> producers_;
    std::size_t turn_ = 0;
    Producer *filled_ = nullptr;    // begun, not committing yet
    Producer *committer_ = nullptr; // committing
    std::string value_;             // of the record, alive until its report
    std::int64_t offset_ = -1;
    const Batch *in_hand_ = nullptr; // what filled_ carries, until flush is over
    Trouble why_;
};

} // namespace once::outbox
