// A read_committed reader that takes the time from publish to arrival: each payload begins with the
// microseconds since the epoch at which it was published. Prints one JSON line of percentiles in
// ms.
#include "kafka_bench.hpp"

using namespace bench;

int main(int argc, char **argv) {
    Arguments arguments(argc, argv);
    const double seconds = static_cast<double>(arguments.number("seconds", 20));
    const double warm_up = static_cast<double>(arguments.number("warm-up", 3));
    rd_kafka_t *reader =
        client(RD_KAFKA_CONSUMER, {{"bootstrap.servers", arguments.text("brokers")},
                                   {"group.id", "latency-" + std::to_string(now_us())},
                                   {"isolation.level", "read_committed"},
                                   {"auto.offset.reset", "latest"},
                                   {"fetch.wait.max.ms", "10"},
                                   {"enable.auto.commit", "false"}});
    rd_kafka_poll_set_consumer(reader);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    const long partitions = arguments.number("partitions", 4);
    for (int partition = 0; partition < partitions; partition++)
        rd_kafka_topic_partition_list_add(topics, arguments.text("topic").c_str(), partition)
            ->offset = RD_KAFKA_OFFSET_END;
    if (rd_kafka_assign(reader, topics))
        die("assign failed");
    std::vector<double> waits;
    const double start = now_seconds();
    while (now_seconds() - start < seconds) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 100);
        if (!message)
            continue;
        if (!message->err && message->len >= 16 && now_seconds() - start > warm_up) {
            const int64_t published =
                std::atoll(std::string(static_cast<char *>(message->payload), 16).c_str());
            waits.push_back(static_cast<double>(now_us() - published) / 1000.0);
        }
        rd_kafka_message_destroy(message);
    }
    std::sort(waits.begin(), waits.end());
    std::printf("{\"events\": %zu, \"rate\": %.0f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, "
                "\"max\": %.1f, \"librdkafka\": \"%s\"}\n",
                waits.size(), static_cast<double>(waits.size()) / (seconds - warm_up),
                percentile(waits, 0.5), percentile(waits, 0.9), percentile(waits, 0.99),
                waits.empty() ? 0 : waits.back(), rd_kafka_version_str());
    rd_kafka_topic_partition_list_destroy(topics);
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
    return 0;
}
