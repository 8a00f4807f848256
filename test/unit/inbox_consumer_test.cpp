// The consumer against the broker that librdkafka brings with it. Its transactions are not to be
// trusted; here it only has to hand out messages and the ends of partitions.
#include "relay/inbox/consumer.hpp"
#include "relay/options.hpp"

#include <gtest/gtest.h>
#include <librdkafka/rdkafka_mock.h>

#include <chrono>
#include <thread>

namespace once::inbox {
namespace {

using std::chrono::steady_clock;

const TopicPartition kPlace{"t", 0};

class Broker {
  public:
    Broker() {
        char reason[512];
        producer_.reset(rd_kafka_new(RD_KAFKA_PRODUCER, nullptr, reason, sizeof reason));
        cluster_ = rd_kafka_mock_cluster_new(producer_.get(), 1);
        rd_kafka_mock_topic_create(cluster_, kPlace.topic.c_str(), 1, 1);
        rd_kafka_brokers_add(producer_.get(), address().c_str());
    }
    ~Broker() { rd_kafka_mock_cluster_destroy(cluster_); }

    std::string address() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }

    void produce(const std::string &value) {
        rd_kafka_producev(producer_.get(), RD_KAFKA_V_TOPIC(kPlace.topic.c_str()),
                          RD_KAFKA_V_PARTITION(kPlace.partition),
                          RD_KAFKA_V_VALUE(const_cast<char *>(value.data()), value.size()),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        ASSERT_EQ(rd_kafka_flush(producer_.get(), 10'000), RD_KAFKA_RESP_ERR_NO_ERROR);
    }

  private:
    kafka::Client producer_;
    rd_kafka_mock_cluster_t *cluster_ = nullptr;
};

// The next thing of this kind; what comes before it is passed over.
Polled next(Consumer &consumer, Polled::Kind kind) {
    const auto deadline = steady_clock::now() + std::chrono::seconds(30);
    while (steady_clock::now() < deadline)
        if (Polled polled = consumer.poll(100); polled.kind == kind)
            return polled;
    ADD_FAILURE() << "it did not come";
    return {};
}

// Fetches are answered in turn: behind the second answer after a message lies its partition's end.
void wait_for_fetches(Consumer &consumer, int count) {
    for (std::int64_t last = consumer.answered_ms(); count > 0; --count) {
        while (consumer.answered_ms() == last) {
            ASSERT_FALSE(consumer.message_at_hand());
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        last = consumer.answered_ms();
    }
}

// What was met before a partition got another position is of that earlier reading. Were its end
// given out afterwards, --until-empty would take everything for read.
TEST(InboxConsumer, F11ForgetsWhatWasMetBeforeAnotherPosition) {
    Broker broker;
    broker.produce("0");
    broker.produce("1");
    KafkaOptions kafka;
    kafka.brokers = broker.address();
    kafka.passthrough["fetch.wait.max.ms"] = "50";
    InboxOptions options;
    options.topic = kPlace.topic;
    options.group = "g";
    Consumer consumer(kafka, options, "once-relay.test");
    consumer.subscribe();
    ASSERT_EQ(next(consumer, Polled::Kind::assigned).places, std::vector{kPlace});
    consumer.assign({{kPlace, 1}}, {{kPlace, 1}});
    ASSERT_EQ(next(consumer, Polled::Kind::message).offset, 1);
    // Looking ahead meets the end, which waits for the end of a transaction that is open.
    wait_for_fetches(consumer, 6);

    consumer.assign({{kPlace, 0}}, {{kPlace, 0}});
    std::vector<std::pair<Polled::Kind, std::int64_t>> seen;
    while (seen.size() < 3)
        if (const Polled polled = consumer.poll(100); polled.kind != Polled::Kind::nothing)
            seen.emplace_back(polled.kind, polled.offset);
    using enum Polled::Kind;
    const decltype(seen) expected{{message, 0}, {message, 1}, {end, 2}};
    EXPECT_EQ(seen, expected);
}

} // namespace
} // namespace once::inbox
