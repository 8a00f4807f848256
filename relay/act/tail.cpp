// Reads without a group: nothing is committed, nobody's offsets move, no right to a group is
// needed.
#include "relay/act/tail.hpp"

#include "relay/kafka/client.hpp"
#include "relay/options.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/one_line.hpp"
#include "relay/request.hpp"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace once {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kPollMs = 500;
constexpr std::size_t kShownBytes = 200; // of a payload, on a line for a person

const kafka::Settings kSettings = {
    {"isolation.level", "read_committed"}, {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"}, {"allow.auto.create.topics", "false"},
    {"fetch.wait.max.ms", "100"},
};

struct Place {
    std::string topic;
    std::int32_t partition;
};

bool is_followed(const rd_kafka_metadata_topic_t &topic, const Options &options,
                 const Request &request) {
    const std::string_view name = topic.topic;
    return request.topic ? name == *request.topic
                         : !name.starts_with("__") && name != options.kafka.position_topic;
}

std::vector<Place> places(rd_kafka_t *client, const Options &options, const Request &request) {
    const rd_kafka_metadata_t *raw = nullptr;
    const auto error =
        rd_kafka_metadata(client, 1, nullptr, &raw, options.kafka.request_timeout_ms);
    const kafka::Metadata metadata(raw);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        throw Refusal(ExitCode::kafka, kafka::no_answer(options.kafka.brokers), {},
                      "Check the option \"brokers\" and the network.");
    std::vector<Place> all;
    for (int i = 0; i < metadata->topic_cnt; ++i)
        if (is_followed(metadata->topics[i], options, request))
            for (int n = 0; n < metadata->topics[i].partition_cnt; ++n)
                all.push_back({metadata->topics[i].topic, n});
    if (all.empty())
        throw Refusal(ExitCode::kafka,
                      request.topic ? "topic \"" + one_line(*request.topic) + "\" is not there"
                                    : "there is no topic",
                      {}, "Topics that may not be described (DESCRIBE) are not seen, either.");
    return all;
}

// The partitions that are read, into one queue; stopped before their handles go.
class Following {
  public:
    explicit Following(rd_kafka_t *client) : client_(client), queue_(rd_kafka_queue_new(client)) {}
    ~Following() {
        for (const auto &[topic, partition] : started_)
            rd_kafka_consume_stop(topic.get(), partition);
    }
    Following(const Following &) = delete;
    Following &operator=(const Following &) = delete;

    // From the ends as they are now: what is committed after this call is seen.
    void follow(const std::vector<Place> &all, int timeout_ms) {
        const kafka::Partitions ends = ends_of(all, timeout_ms);
        for (int i = 0; i < ends->cnt; ++i) {
            const rd_kafka_topic_partition_t &end = ends->elems[i];
            kafka::Topic topic(rd_kafka_topic_new(client_, end.topic, nullptr));
            if (!topic || rd_kafka_consume_start_queue(topic.get(), end.partition, end.offset,
                                                       queue_.get()) != 0)
                refuse(end.topic, rd_kafka_last_error());
            started_.emplace_back(std::move(topic), end.partition);
        }
    }
    kafka::Message next() { return kafka::Message(rd_kafka_consume_queue(queue_.get(), kPollMs)); }

  private:
    // Not rd_kafka_query_watermark_offsets: in 2.0.2 it ignores its timeout (#4460).
    kafka::Partitions ends_of(const std::vector<Place> &all, int timeout_ms) {
        kafka::Partitions list(rd_kafka_topic_partition_list_new(static_cast<int>(all.size())));
        for (const Place &place : all)
            rd_kafka_topic_partition_list_add(list.get(), place.topic.c_str(), place.partition)
                ->offset = RD_KAFKA_OFFSET_END;
        if (const auto error = rd_kafka_offsets_for_times(client_, list.get(), timeout_ms))
            refuse(all.front().topic, error);
        for (int i = 0; i < list->cnt; ++i)
            if (list->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR)
                refuse(list->elems[i].topic, list->elems[i].err);
        return list;
    }
    [[noreturn]] static void refuse(const std::string &topic, rd_kafka_resp_err_t error) {
        throw Refusal(ExitCode::kafka,
                      "could not read topic \"" + topic + "\": " + rd_kafka_err2str(error));
    }

    rd_kafka_t *client_;
    kafka::Owned<rd_kafka_queue_t> queue_;
    std::vector<std::pair<kafka::Topic, std::int32_t>> started_;
};

// The text that the bytes are; where they are no UTF-8, as PostgreSQL writes bytea.
Json text_of(const void *bytes, std::size_t size) {
    if (bytes == nullptr)
        return {};
    const std::string_view all(static_cast<const char *>(bytes), size);
    Json text = std::string(all);
    try {
        text.dump();
    } catch (const Json::type_error &) {
        std::string digits = "\\x";
        for (const unsigned char c : all)
            digits += fmt::format("{:02x}", c);
        text = digits;
    }
    return text;
}

Json document(const rd_kafka_message_t &message) {
    Json all = {{"topic", rd_kafka_topic_name(message.rkt)},
                {"partition", message.partition},
                {"offset", message.offset},
                {"time_ms", rd_kafka_message_timestamp(&message, nullptr)},
                {"key", text_of(message.key, message.key_len)},
                {"headers", Json::array()},
                {"payload", text_of(message.payload, message.len)}};
    rd_kafka_headers_t *headers = nullptr;
    if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return all;
    const char *name = nullptr;
    const void *value = nullptr;
    std::size_t size = 0;
    for (std::size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &size); ++i)
        all["headers"].push_back({name, text_of(value, size)});
    return all;
}

std::string line(const Json &message) {
    std::string id = "-";
    for (const Json &header : message["headers"])
        if (header[0] == "once-id" && header[1].is_string())
            id = header[1].get<std::string>();
    const auto text = [](const Json &value) {
        return value.is_null() ? "null"
                               : value.dump(-1, ' ', false, Json::error_handler_t::replace);
    };
    std::string payload = text(message["payload"]);
    if (payload.size() > kShownBytes)
        payload = payload.substr(0, kShownBytes) + "…";
    return fmt::format("{}/{}@{}  {}  key {}  {}", message["topic"].get<std::string>(),
                       message["partition"].get<int>(), message["offset"].get<std::int64_t>(),
                       one_line(id), text(message["key"]), payload);
}

bool is_wanted(const rd_kafka_message_t &message, const Request &request) {
    const std::string_view key(static_cast<const char *>(message.key), message.key_len);
    return (!request.key || (message.key != nullptr && key == *request.key)) &&
           (!request.no_key || message.key == nullptr);
}

void print(const rd_kafka_message_t &message, const Options &options) {
    const Json json = document(message);
    std::puts(
        (options.json ? json.dump(-1, ' ', false, Json::error_handler_t::replace) : line(json))
            .c_str());
    std::fflush(stdout);
}

// Reading goes on by itself when it can; until then the silence has a reason.
void report(const rd_kafka_message_t &message) {
    const std::string where =
        message.rkt == nullptr
            ? "Kafka"
            : fmt::format("{}/{}", rd_kafka_topic_name(message.rkt), message.partition);
    std::fprintf(stderr, "once-relay: %s: %s\n", where.c_str(),
                 one_line(rd_kafka_message_errstr(&message)).c_str());
}

} // namespace

int tail(const Options &options, const Request &request) {
    const kafka::Client client = kafka::make_client(
        kafka::make_conf(options.kafka, kSettings, RD_KAFKA_CONSUMER), RD_KAFKA_CONSUMER);
    Following following(client.get());
    following.follow(places(client.get(), options, request), options.kafka.request_timeout_ms);
    std::fputs("once-relay: following; an interrupt ends it\n", stderr);
    int left = request.limit.value_or(1);
    while (left > 0 && std::ferror(stdout) == 0) {
        const kafka::Message message = following.next();
        if (message && message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            report(*message);
        else if (message && is_wanted(*message, request)) {
            print(*message, options);
            left -= request.limit ? 1 : 0;
        }
    }
    return static_cast<int>(ExitCode::stopped);
}

} // namespace once
