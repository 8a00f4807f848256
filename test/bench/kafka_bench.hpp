// What the bench programs share: a client with settings, a delivery count, percentiles. No retries,
// no recovery: a bench that meets an error stops with it.
#pragma once

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

namespace bench {

using Settings = std::map<std::string, std::string>;

[[noreturn]] inline void die(const std::string &what) {
    std::fprintf(stderr, "bench: %s\n", what.c_str());
    std::exit(1);
}

inline void check(rd_kafka_error_t *error, const char *what) {
    if (error)
        die(std::string(what) + ": " + rd_kafka_error_string(error));
}

inline double now_seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

inline int64_t now_us() {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

// --name value pairs of the command line.
class Arguments {
  public:
    Arguments(int argc, char **argv) {
        for (int i = 1; i + 1 < argc; i += 2)
            values_[argv[i]] = argv[i + 1];
    }
    [[nodiscard]] std::string text(const std::string &name,
                                   const std::string &otherwise = "") const {
        auto found = values_.find("--" + name);
        return found == values_.end() ? otherwise : found->second;
    }
    [[nodiscard]] long number(const std::string &name, long otherwise) const {
        auto found = values_.find("--" + name);
        return found == values_.end() ? otherwise : std::atol(found->second.c_str());
    }

  private:
    std::map<std::string, std::string> values_;
};

inline void on_delivery(rd_kafka_t *, const rd_kafka_message_t *message, void *) {
    if (message->err)
        die(std::string("delivery: ") + rd_kafka_err2str(message->err));
}

inline rd_kafka_t *client(rd_kafka_type_t type, const Settings &settings) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char reason[512];
    for (const auto &[name, value] : settings)
        if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), reason, sizeof reason))
            die(reason);
    if (type == RD_KAFKA_PRODUCER)
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_t *handle = rd_kafka_new(type, conf, reason, sizeof reason);
    if (!handle)
        die(reason);
    return handle;
}

// The relay's own producer settings, so that both sides of a ratio use the client in the same way.
inline rd_kafka_t *transactional_producer(const std::string &brokers, const std::string &id) {
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, {{"bootstrap.servers", brokers},
                                                      {"transactional.id", id},
                                                      {"acks", "all"},
                                                      {"partitioner", "murmur2_random"},
                                                      {"linger.ms", "5"},
                                                      {"queue.buffering.max.messages", "200000"}});
    check(rd_kafka_init_transactions(producer, 30000), "init_transactions");
    return producer;
}

// 200-byte event with three headers, as the relay ships it (its own three headers come on top
// there: see `extra`).
inline void produce(rd_kafka_t *producer, const char *topic, const std::string &key,
                    const std::string &value,
                    const std::vector<std::pair<std::string, std::string>> &headers) {
    rd_kafka_headers_t *list = rd_kafka_headers_new(headers.size());
    for (const auto &[name, text] : headers)
        rd_kafka_header_add(list, name.data(), static_cast<ssize_t>(name.size()), text.data(),
                            static_cast<ssize_t>(text.size()));
    for (;;) {
        rd_kafka_resp_err_t error = rd_kafka_producev(
            producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key.data(), key.size()),
            RD_KAFKA_V_VALUE(const_cast<char *>(value.data()), value.size()),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(list), RD_KAFKA_V_END);
        if (!error)
            return;
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            die(std::string("produce: ") + rd_kafka_err2str(error));
        rd_kafka_poll(producer, 10);
    }
}

inline double percentile(std::vector<double> &sorted, double share) {
    if (sorted.empty())
        return 0;
    return sorted[std::min(sorted.size() - 1,
                           static_cast<size_t>(share * static_cast<double>(sorted.size())))];
}

} // namespace bench
