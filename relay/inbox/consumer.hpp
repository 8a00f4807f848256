// GroupConsumer over librdkafka.
//
// One thread. Rebalances are not handled inside librdkafka's callback: poll() returns them like
// messages, and the group waits until assign() or release() answers.
#pragma once

#include "relay/inbox/group_consumer.hpp"
#include "relay/kafka/compat.hpp"

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace once {
struct KafkaOptions;
struct InboxOptions;
} // namespace once

namespace once::inbox {

class Consumer final : public GroupConsumer {
  public:
    // Throws Refusal when librdkafka does not take the settings.
    Consumer(const KafkaOptions &kafka, const InboxOptions &options, const std::string &client_id);
    ~Consumer() override;
    Consumer(const Consumer &) = delete;
    Consumer &operator=(const Consumer &) = delete;

    void subscribe() override;
    Polled poll(int timeout_ms) override;
    std::optional<Message> message_at_hand() override;
    void assign(const Offsets &changed, const Offsets &all) override;
    void release(std::vector<TopicPartition> places) override;
    void pause(const std::vector<TopicPartition> &places) override;
    void resume(const std::vector<TopicPartition> &places) override;
    std::vector<TopicPartition> partitions(const std::string &name) override;
    Offsets edges(const std::vector<TopicPartition> &places, Edge edge) override;
    std::map<TopicPartition, Committed, TopicPartitionOrder>
    committed(const std::vector<TopicPartition> &places) override;
    bool tells_topic_ids() const override;
    TopicIds topic_ids(const std::vector<TopicPartition> &places) override;
    std::vector<std::string> member_clients() override;
    void commit_offsets(const Offsets &next) override;
    std::int64_t known_end(const TopicPartition &place) const override;
    std::int64_t answered_ms() const override { return *last_answer_ms_; }
    void close() override;

  private:
    static void on_rebalance(rd_kafka_t *, rd_kafka_resp_err_t code,
                             rd_kafka_topic_partition_list_t *list, void *self) noexcept;
    bool cooperative() const;
    Polled from(kafka::Message raw) const;
    void poll_client(int timeout_ms);
    void forget_waiting(const std::vector<TopicPartition> &places);

    std::string topic_;
    std::string group_;
    int request_timeout_ms_;
    // The client's threads write it, and may outlive us.
    std::shared_ptr<std::atomic<std::int64_t>> last_answer_ms_ =
        std::make_shared<std::atomic<std::int64_t>>(0);
    kafka::Client client_;             // messages go before it
    std::deque<Polled> waiting_;       // given out by the next polls, in their order
    std::vector<TopicPartition> held_; // assigned at librdkafka
    bool closed_ = false;
};

} // namespace once::inbox
