// The ceiling for `drain`: a transactional librdkafka producer that sends the same messages from
// memory, in transactions of the same size. It knows nothing of a database. --ring 2 takes turns as
// the relay does. Prints one JSON line: events, seconds, events a second.
#include "kafka_bench.hpp"

#include <future>
#include <string_view>

using namespace bench;

namespace {

struct Run {
    std::string topic;
    long count, size, transaction;
    bool headers;
};

// All that can be made before the clock starts is; ids and positions are written in place.
class Messages {
  public:
    Messages(long keys, long size, bool with_headers)
        : with_headers_(with_headers), value_(static_cast<size_t>(size), 'x') {
        for (long n = 0; n < keys; n++)
            keys_.push_back("k" + std::to_string(n));
        for (long n = 0; n < 10; n++)
            tenants_.push_back("tenant-" + std::to_string(n));
    }

    void send(rd_kafka_t *producer, rd_kafka_topic_t *topic, long n) {
        rd_kafka_headers_t *headers = rd_kafka_headers_new(6);
        if (with_headers_)
            add_all(headers, n);
        const std::string &key = keys_[static_cast<size_t>(n) % keys_.size()];
        const rd_kafka_resp_err_t error = rd_kafka_producev(
            producer, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_KEY(key.data(), key.size()),
            RD_KAFKA_V_VALUE(value_.data(), value_.size()), RD_KAFKA_V_HEADERS(headers),
            RD_KAFKA_V_END);
        if (error)
            die(std::string("produce: ") + rd_kafka_err2str(error));
    }

  private:
    // three of the application, and the relay's three with texts of the same length
    void add_all(rd_kafka_headers_t *headers, long n) {
        add(headers, "trace", "0af7651916cd43dd");
        add(headers, "tenant", tenants_[static_cast<size_t>(n % 10)]);
        add(headers, "type", "created");
        std::snprintf(id_ + 24, 13, "%012lx", n); // rising, as the relay's uuid v7 are
        add(headers, "once-id", {id_, 36});
        add(headers, "once-source", "0199c1a0-5c3e-4bbb-8123-0123456789ab/0");
        add(headers, "once-position",
            {number_, static_cast<size_t>(std::snprintf(number_, 24, "%ld", n))});
    }

    static void add(rd_kafka_headers_t *headers, const char *name, std::string_view text) {
        rd_kafka_header_add(headers, name, -1, text.data(), static_cast<ssize_t>(text.size()));
    }

    const bool with_headers_;
    std::string value_;
    std::vector<std::string> keys_, tenants_;
    char id_[40] = "0199c1a0-5c3e-7bbb-8123-";
    char number_[24] = "";
};

struct Client {
    rd_kafka_t *producer;
    rd_kafka_topic_t *topic;
};

void fill(const Client &client, Messages &messages, long from, long to) {
    for (long n = from; n < to; n++) {
        messages.send(client.producer, client.topic, n);
        if (n % 1000 == 0)
            rd_kafka_poll(client.producer, 0);
    }
    if (rd_kafka_flush(client.producer, 60000))
        die("flush timed out");
}

} // namespace

int main(int argc, char **argv) {
    Arguments arguments(argc, argv);
    const Run run{arguments.text("topic", "raw"), arguments.number("count", 1000000),
                  arguments.number("size", 200), arguments.number("transaction", 20000),
                  arguments.number("headers", 1) != 0};
    Messages messages(arguments.number("keys", 1000), run.size, run.headers);
    const long ring = arguments.number("ring", 1);
    std::vector<Client> clients;
    for (long i = 0; i < ring; i++) {
        rd_kafka_t *producer =
            transactional_producer(arguments.text("brokers"), "raw-" + std::to_string(i));
        clients.push_back({producer, rd_kafka_topic_new(producer, run.topic.c_str(), nullptr)});
        const rd_kafka_metadata_t *known = nullptr; // or the first message waits for it (#5032)
        rd_kafka_metadata(producer, 0, clients.back().topic, &known, 10000);
        rd_kafka_metadata_destroy(known);
    }
    const double start = now_seconds();
    std::future<void> committing;
    long turn = 0;
    for (long from = 0; from < run.count; from += run.transaction, turn++) {
        const Client &client = clients[static_cast<size_t>(turn % ring)];
        rd_kafka_t *producer = client.producer;
        if (ring == 1 && committing.valid())
            committing.get();
        check(rd_kafka_begin_transaction(producer), "begin");
        fill(client, messages, from, std::min(run.count, from + run.transaction));
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
                run.count, seconds, static_cast<double>(run.count) / seconds,
                rd_kafka_version_str());
    for (const Client &client : clients) {
        rd_kafka_topic_destroy(client.topic);
        rd_kafka_destroy(client.producer);
    }
    return 0;
}
