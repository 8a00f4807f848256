#include "relay/outbox/checkpoint_topic.hpp"

#include "relay/process/exit_code.hpp"
#include "relay/kafka/admin.hpp"
#include "relay/kafka/client.hpp"
#include "relay/kafka/classify.hpp"
#include "relay/process/log.hpp"
#include "relay/options.hpp"

namespace once::outbox {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// So long one question for the cluster waits: short, so that somebody who watches learns soon that
// nobody answers. The client goes on connecting between two of them.
constexpr int kContactMs = 1000;
// Records read before going further back: first the last few, then ten times as many.
constexpr std::int64_t kTail = 2000;
constexpr std::int64_t kTailGrowth = 10;

const kafka::Settings kReaderSettings = {
    {"isolation.level", "read_committed"},
    {"enable.partition.eof", "true"},
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "earliest"}, // a hint that compaction or deletion overtook
    {"fetch.wait.max.ms", "20"},       // so long an end of partition takes to be told
    {"fetch.error.backoff.ms", "50"},
    // Below these the fetcher never stops: librdkafka before 2.2 sleeps a second when it does.
    {"queued.min.messages", "100000"},
    {"queued.max.messages.kbytes", "32768"},
    {"allow.auto.create.topics", "false"},
};

// A partition being consumed without a group; stopped before its topic handle goes.
class Consuming {
  public:
    Consuming(rd_kafka_t *client, const std::string &name, std::int32_t number, std::int64_t from)
        : topic_(rd_kafka_topic_new(client, name.c_str(), nullptr)), partition_(number) {
        started_ = rd_kafka_consume_start(topic_.get(), partition_, from) == 0;
    }
    ~Consuming() {
        if (started_)
            rd_kafka_consume_stop(topic_.get(), partition_);
    }
    Consuming(const Consuming &) = delete;
    Consuming &operator=(const Consuming &) = delete;

    kafka::Message next(milliseconds timeout) {
        if (!started_)
            return nullptr;
        return kafka::Message(
            rd_kafka_consume(topic_.get(), partition_, static_cast<int>(timeout.count())));
    }

  private:
    kafka::Topic topic_;
    const std::int32_t partition_;
    bool started_;
};

} // namespace

CheckpointTopic::CheckpointTopic(const KafkaOptions &options, kafka::Pulse pulse)
    : options_(options), pulse_(std::move(pulse)),
      client_(kafka::make_client(kafka::make_conf(options, kReaderSettings, RD_KAFKA_CONSUMER),
                                 RD_KAFKA_CONSUMER)) {}

CheckpointTopic::~CheckpointTopic() {
    kafka::destroy_or_leave(std::move(client_));
}

Outcome CheckpointTopic::fail(const std::string &text) {
    why_ = {};
    why_.text = text;
    return Outcome::retry;
}

Outcome CheckpointTopic::forbid(const std::string &topic) {
    fail(rd_kafka_err2str(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED));
    why_.kind = Trouble::Kind::topic;
    why_.topic = topic;
    why_.forbidden = true;
    return Outcome::retry;
}

Outcome CheckpointTopic::ensure(bool may_create) {
    cluster_ = kafka::cluster_id(client_.get(), std::min(options_.request_timeout_ms, kContactMs));
    if (cluster_.empty())
        return fail(kafka::no_answer(options_.brokers));
    int partitions = 0;
    if (const Outcome outcome = count_partitions(partitions); outcome != Outcome::ok)
        return outcome;
    if (partitions == 0) {
        if (!may_create)
            throw Refusal(ExitCode::refused, "topic \"" + options_.position_topic + "\" is missing",
                          "The database knows of earlier shipping, so the position is lost.",
                          "Bring the topic back, or decide with once.rearm() what to ship.");
        return create();
    }
    if (partitions != 1)
        throw Refusal(ExitCode::refused,
                      "topic \"" + options_.position_topic + "\" has " +
                          std::to_string(partitions) + " partitions",
                      "Positions need one partition, so that their order is known.",
                      "Name a topic of one partition in outbox.position_topic, or delete this one "
                      "before the first start.");
    return check_settings();
}

Outcome CheckpointTopic::count_partitions(int &partitions) {
    const kafka::Topic topic(
        rd_kafka_topic_new(client_.get(), options_.position_topic.c_str(), nullptr));
    const rd_kafka_metadata_t *raw = nullptr;
    const auto error =
        rd_kafka_metadata(client_.get(), 0, topic.get(), &raw, options_.request_timeout_ms);
    const kafka::Metadata metadata(raw);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR || metadata->topic_cnt != 1)
        return fail(std::string("metadata: ") + rd_kafka_err2str(error));
    brokers_ = metadata->broker_cnt;
    const auto &answer = metadata->topics[0];
    partitions = 0;
    if (answer.err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return Outcome::ok;
    if (kafka::forbidden(answer.err))
        return forbid(options_.position_topic);
    if (answer.err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail(options_.position_topic + ": " + rd_kafka_err2str(answer.err));
    partitions = answer.partition_cnt;
    return Outcome::ok;
}

Outcome CheckpointTopic::create() {
    const int replicas =
        options_.position_replication > 0 ? options_.position_replication : std::min(3, brokers_);
    const kafka::Settings config = {
        {"cleanup.policy", "compact"},
        {"min.insync.replicas", replicas >= 3 ? "2" : "1"},
        {"unclean.leader.election.enable", "false"},
        // Or the brokers refuse the positions of a host whose clock is an hour ahead of theirs.
        {"message.timestamp.type", "LogAppendTime"},
    };
    const auto error = kafka::create_topic(client_.get(), options_.position_topic, 1, replicas,
                                           config, options_.request_timeout_ms);
    if (!error.empty() && error.find("already exists") == std::string::npos)
        throw Refusal(ExitCode::kafka,
                      "cannot create topic \"" + options_.position_topic + "\": " + error, {},
                      "Create it: 1 partition, cleanup.policy=compact.");
    if (error.empty())
        log::info("position_topic_created",
                  {{"topic", options_.position_topic}, {"replication", replicas}});
    // Leader elected and known everywhere: a moment.
    return fail("topic " + options_.position_topic + " has just been created");
}

Outcome CheckpointTopic::check_settings() {
    std::string error;
    const auto settings = kafka::topic_settings(client_.get(), options_.position_topic,
                                                options_.request_timeout_ms, error);
    if (!settings) {
        log::warning("position_topic_not_checked",
                     {{"topic", options_.position_topic}, {"error", error}});
        return Outcome::ok;
    }
    const auto policy = settings->find("cleanup.policy");
    if (policy != settings->end() && policy->second != "compact")
        throw Refusal(ExitCode::refused,
                      "topic \"" + options_.position_topic +
                          "\" has cleanup.policy=" + policy->second,
                      "Kafka would delete positions, and with them what is known of the progress.",
                      "Set cleanup.policy=compact on it.");
    return Outcome::ok;
}

void CheckpointTopic::match(const rd_kafka_message_t &message, const std::string &key,
                            std::optional<Record> &record) const {
    const std::string_view its_key(static_cast<const char *>(message.key), message.key_len);
    if (message.key == nullptr || its_key != key)
        return;
    const std::string where = "position of \"" + key + "\" at offset " +
                              std::to_string(message.offset) + " of topic \"" +
                              options_.position_topic + "\"";
    try {
        if (message.payload == nullptr)
            throw UnreadablePosition("it was deleted");
        Record next{decode_position({static_cast<const char *>(message.payload), message.len}),
                    message.offset};
        if (record)
            if (const auto fault = regression(record->position, next.position))
                throw UnreadablePosition("it goes backwards: " + *fault);
        record = std::move(next);
    } catch (const UnreadablePosition &e) {
        throw Refusal(ExitCode::refused, "cannot read the " + where, std::string(e.what()) + ".",
                      "Find out who wrote it; once.rearm() decides what to ship.");
    }
}

CheckpointTopic::Window CheckpointTopic::read_window(const std::string &key, std::int64_t from,
                                                     std::optional<std::int64_t> until,
                                                     Timeout timeout) {
    Consuming partition(client_.get(), options_.position_topic, 0, from);
    Window window;
    std::optional<std::int64_t> first;
    auto deadline = Clock::now() + timeout;
    std::string trouble = "no answer";
    const auto complete = [&](std::int64_t end) {
        window.begin = first.value_or(end);
        window.end = end;
        return window;
    };
    while (Clock::now() < deadline && !pulse_()) {
        const auto message = partition.next(milliseconds(100));
        if (!message)
            continue;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            // The end the broker tells must not lie before the one we know: a deposed leader's
            // does.
            if (!until || message->offset > *until)
                return complete(message->offset);
            continue;
        }
        if (kafka::forbidden(message->err)) {
            forbid(options_.position_topic);
            return {Outcome::retry, std::nullopt, 0};
        }
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            trouble = rd_kafka_message_errstr(message.get());
            continue;
        }
        deadline = Clock::now() + timeout;
        if (!first)
            first = message->offset;
        match(*message, key, window.record);
        if (until && message->offset >= *until)
            return complete(message->offset + 1);
    }
    fail("could not read topic " + options_.position_topic + " to its end: " + trouble);
    window.outcome = Outcome::retry;
    return window;
}

ReadBack CheckpointTopic::last(const std::string &key, std::optional<std::int64_t> hint,
                               std::optional<std::int64_t> until, Timeout timeout) {
    const bool read_before = known_.key == key && until && known_.end <= *until;
    Window window = read_before ? read_window(key, known_.end, until, timeout)
                                : search(key, hint, until, timeout);
    if (window.outcome != Outcome::ok)
        return {window.outcome, std::nullopt};
    if (read_before && known_.record) {
        if (!window.record)
            window.record = known_.record;
        else if (const auto fault = regression(known_.record->position, window.record->position))
            throw Refusal(ExitCode::refused, "the position of \"" + key + "\" goes backwards",
                          *fault + ".",
                          "Find out who wrote it; once.rearm() decides what to ship.");
    }
    known_ = {key, window.record, window.end};
    return {Outcome::ok, window.record};
}

// From the end back in windows that grow and do not overlap: a topic in which the key is not is
// read once. The answer holds for everything below the end of the first window. What compaction
// takes away meanwhile has a successor behind that end, which whoever reads on from there finds.
CheckpointTopic::Window CheckpointTopic::search(const std::string &key,
                                                std::optional<std::int64_t> hint,
                                                std::optional<std::int64_t> until,
                                                Timeout timeout) {
    std::int64_t start = RD_KAFKA_OFFSET_TAIL(kTail);
    if (hint && *hint >= 0 && (!until || *hint <= *until)) // else another topic's
        start = *hint;
    else if (until)
        start = std::max<std::int64_t>(*until - kTail, 0);
    Window window = read_window(key, start, until, timeout);
    const std::int64_t end = window.end;
    for (std::int64_t size = kTail * kTailGrowth;
         window.outcome == Outcome::ok && !window.record && window.begin > 0; size *= kTailGrowth) {
        const std::int64_t from = std::max<std::int64_t>(window.begin - size, 0);
        window = read_window(key, from, window.begin - 1, timeout);
        window.begin = std::min(window.begin, from);
    }
    window.end = end;
    return window;
}

Outcome CheckpointTopic::scan(const std::string &name, std::int64_t since_ms, Timeout timeout,
                              const EachMessage &each) {
    const kafka::Topic topic(rd_kafka_topic_new(client_.get(), name.c_str(), nullptr));
    const rd_kafka_metadata_t *raw = nullptr;
    const auto error =
        rd_kafka_metadata(client_.get(), 0, topic.get(), &raw, options_.request_timeout_ms);
    const kafka::Metadata metadata(raw);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR || metadata->topic_cnt != 1)
        return fail(std::string("metadata: ") + rd_kafka_err2str(error));
    const auto &answer = metadata->topics[0];
    if (answer.err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return Outcome::ok;
    if (kafka::forbidden(answer.err))
        return forbid(name);
    if (answer.err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail(name + ": " + rd_kafka_err2str(answer.err));
    for (int i = 0; i < answer.partition_cnt; ++i)
        if (const Outcome outcome =
                scan_partition(name, answer.partitions[i].id, since_ms, timeout, each);
            outcome != Outcome::ok)
            return outcome;
    return Outcome::ok;
}

std::optional<std::int64_t>
CheckpointTopic::offset_at(const std::string &name, std::int32_t partition, std::int64_t time_ms) {
    if (time_ms == 0)
        return RD_KAFKA_OFFSET_BEGINNING;
    const kafka::Partitions list(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_list_add(list.get(), name.c_str(), partition)->offset = time_ms;
    if (rd_kafka_offsets_for_times(client_.get(), list.get(), options_.request_timeout_ms) !=
            RD_KAFKA_RESP_ERR_NO_ERROR ||
        list->elems[0].err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return std::nullopt;
    return list->elems[0].offset; // the end when nothing is so young
}

Outcome CheckpointTopic::scan_partition(const std::string &name, std::int32_t number,
                                        std::int64_t since_ms, Timeout timeout,
                                        const EachMessage &each) {
    const auto from = offset_at(name, number, since_ms);
    if (!from)
        return fail("could not look up an offset of topic " + name);
    Consuming partition(client_.get(), name, number, *from);
    auto deadline = Clock::now() + timeout;
    for (;;) {
        if (Clock::now() >= deadline || pulse_())
            return fail("could not read topic " + name + " to its end");
        const auto message = partition.next(milliseconds(100));
        if (!message)
            continue;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            return Outcome::ok;
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            continue;
        deadline = Clock::now() + timeout;
        each(*message);
    }
}

} // namespace once::outbox
