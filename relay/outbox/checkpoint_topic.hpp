// The topic that holds the positions of all lanes: one partition, compacted. Makes it, checks its
// settings, reads it from its tail.
#pragma once

#include "relay/kafka/handles.hpp"
#include "relay/kafka/pulse.hpp"
#include "relay/outbox/checkpoint.hpp"

#include <memory>
#include <string>

namespace once {
struct KafkaOptions;
}

namespace once::outbox {

class CheckpointTopic {
  public:
    using Timeout = std::chrono::milliseconds;
    // The pulse may end long reads early; they are retry then.
    explicit CheckpointTopic(
        const KafkaOptions &options, kafka::Pulse pulse = [] { return false; });
    ~CheckpointTopic();
    CheckpointTopic(const CheckpointTopic &) = delete;
    CheckpointTopic &operator=(const CheckpointTopic &) = delete;

    // ok: the topic is there and as it has to be. retry: brokers do not answer. Throws Refusal:
    // wrong settings, or missing when it may not be made.
    Outcome ensure(bool may_create);
    const std::string &cluster_id() const { return cluster_; }

    // The last record under this key, read committed. What was read once is not read again: offsets
    // below the end of a committed read never change. `until`: offset that must be reached; none:
    // the end as the broker tells it now. Begins at the hint or near the tail and goes back only if
    // the key is not there. A timeout is retry, never "none". Throws Refusal for a record that
    // cannot be read or goes backwards.
    ReadBack last(const std::string &key, std::optional<std::int64_t> hint,
                  std::optional<std::int64_t> until, Timeout timeout);

    // Every message in a topic from a time up to its present end; for rearm and for what is at
    // stake.
    using EachMessage = std::function<void(const rd_kafka_message_t &)>;
    Outcome scan(const std::string &topic, std::int64_t since_ms, Timeout timeout,
                 const EachMessage &each);

    const Trouble &trouble() const { return why_; }

  private:
    struct Window {
        Outcome outcome = Outcome::ok;
        std::optional<Record> record;
        std::int64_t begin = 0; // first offset read that had a message
        std::int64_t end = 0;   // read up to here, exclusive
    };
    // What earlier reads of a key came to, for everything below `end`: also that there is none.
    struct Known {
        std::string key;
        std::optional<Record> record;
        std::int64_t end = 0;
    };
    Window search(const std::string &key, std::optional<std::int64_t> hint,
                  std::optional<std::int64_t> until, Timeout timeout);
    Window read_window(const std::string &key, std::int64_t from, std::optional<std::int64_t> until,
                       Timeout timeout);
    void match(const rd_kafka_message_t &message, const std::string &key,
               std::optional<Record> &record) const;
    Outcome create();
    Outcome check_settings();
    Outcome scan_partition(const std::string &topic, std::int32_t partition, std::int64_t since_ms,
                           Timeout timeout, const EachMessage &each);
    std::optional<std::int64_t> offset_at(const std::string &topic, std::int32_t partition,
                                          std::int64_t time_ms);
    Outcome count_partitions(int &partitions);
    Outcome fail(const std::string &text);
    Outcome forbid(const std::string &topic);

    const KafkaOptions &options_;
    const kafka::Pulse pulse_;
    kafka::Client client_; // a consumer without a group
    std::string cluster_;
    int brokers_ = 1;
    Known known_;
    Trouble why_;
};

} // namespace once::outbox
