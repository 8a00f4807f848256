// The ceiling for `drain`: a transactional librdkafka producer that sends the same messages from memory, in
// transactions of the same size. It knows nothing of a database. --ring 2 takes turns as the relay does.
// Prints one JSON line: events, seconds, events a second.
#include "kafka_bench.hpp"

#include <future>

using namespace bench;

namespace {

struct Run {
    std::string topic;
    long count, size, transaction, keys;
};

// Rising, as the relay's uuid v7 are.
std::string id_of(long n) {
    char text[37];
    std::snprintf(text, sizeof text, "0199c1a0-5c3e-7bbb-8123-%012lx", n);
    return text;
}

std::vector<std::pair<std::string, std::string>> headers(long n) {
    // three of the application, and the relay's three with texts of the same length
    return {{"trace", "0af7651916cd43dd"},
            {"tenant", "tenant-" + std::to_string(n % 10)},
            {"type", "created"},
            {"once-id", id_of(n)},
            {"once-source", "0199c1a0-5c3e-4bbb-8123-0123456789ab/0"},
            {"once-position", std::to_string(n)}};
}

void fill(rd_kafka_t *producer, const Run &run, long from, long to, const std::string &value) {
    for (long n = from; n < to; n++) {
        produce(producer, run.topic.c_str(), "k" + std::to_string(n % run.keys), value, headers(n));
        if (n % 1000 == 0)
            rd_kafka_poll(producer, 0);
    }
    if (rd_kafka_flush(producer, 60000))
        die("flush timed out");
}

} // namespace

int main(int argc, char **argv) {
    Arguments arguments(argc, argv);
    Run run{arguments.text("topic", "raw"), arguments.number("count", 1000000),
            arguments.number("size", 200), arguments.number("transaction", 20000),
            arguments.number("keys", 1000)};
    const long ring = arguments.number("ring", 1);
    std::vector<rd_kafka_t *> producers;
    for (long i = 0; i < ring; i++)
        producers.push_back(transactional_producer(arguments.text("brokers"), "raw-" + std::to_string(i)));
    const std::string value(static_cast<size_t>(run.size), 'x');
    const double start = now_seconds();
    std::future<void> committing;
    long turn = 0;
    for (long from = 0; from < run.count; from += run.transaction, turn++) {
        rd_kafka_t *producer = producers[static_cast<size_t>(turn % ring)];
        if (ring == 1 && committing.valid())
            committing.get();
        check(rd_kafka_begin_transaction(producer), "begin");
        fill(producer, run, from, std::min(run.count, from + run.transaction), value);
        if (committing.valid())
            committing.get();
        committing = std::async(std::launch::async, [producer] {
            check(rd_kafka_commit_transaction(producer, 60000), "commit");
        });
    }
    if (committing.valid())
        committing.get();
    const double seconds = now_seconds() - start;
    std::printf("{\"events\": %ld, \"seconds\": %.3f, \"rate\": %.0f, \"librdkafka\": \"%s\"}\n",
                run.count, seconds, static_cast<double>(run.count) / seconds, rd_kafka_version_str());
    for (rd_kafka_t *producer : producers)
        rd_kafka_destroy(producer);
    return 0;
}
