#include "relay/outbox/producer.hpp"

#include "relay/process/crash_point.hpp"
#include "relay/kafka/client.hpp"
#include "relay/options.hpp"
#include "relay/outbox/wall_clock.hpp"

#include <cstring>

namespace once::outbox {
namespace {

constexpr int16_t kEndTxn = 26; // Kafka's number of the request

bool fenced(rd_kafka_resp_err_t code) {
    return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
           code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

kafka::Settings producer_settings(const KafkaOptions &options, const std::string &id,
                                  int max_messages) {
    return {
        {"transactional.id", id},
        {"transaction.timeout.ms", std::to_string(options.transaction_timeout_ms)},
        {"acks", "all"},
        {"partitioner", "murmur2_random"}, // as the Java client: the same key, the same partition
        {"queue.buffering.max.messages", std::to_string(std::max(max_messages * 2, 100000))},
        // The broker judges the size of a message; batches stay at batch.size.
        {"message.max.bytes", "16000000"},
        {"linger.ms", "5"}, // flush() does not wait for it
        {"topic.metadata.refresh.fast.interval.ms", "100"},
    };
}

} // namespace

Producer::Producer(const KafkaOptions &options, std::string id, int max_messages)
    : transactional_id(std::move(id)) {
    auto conf = kafka::make_conf(
        options, producer_settings(options, transactional_id, max_messages), RD_KAFKA_PRODUCER);
    rd_kafka_conf_set_opaque(conf.get(), this);
    rd_kafka_conf_set_dr_msg_cb(conf.get(), on_delivery);
    rd_kafka_conf_set_log_cb(conf.get(), on_log);
    rd_kafka_conf_interceptor_add_on_new(conf.get(), "once", on_new, this);
    client = kafka::make_client(std::move(conf), RD_KAFKA_PRODUCER);
    worker = std::thread([this] { work(); });
}

Producer::~Producer() {
    {
        const std::lock_guard lock(mutex);
        quit = true;
    }
    wake_worker.notify_one();
    worker.join(); // a commit under way ends by its timeout
    // Nobody waits for reports any more. What was not committed is aborted by the next
    // init_transactions of this id, or by the coordinator's timeout.
    rd_kafka_purge(client.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                     RD_KAFKA_PURGE_F_NON_BLOCKING);
    topics.clear();
    client.reset();
}

// --- callbacks

void Producer::on_delivery(rd_kafka_t *, const rd_kafka_message_t *message, void *opaque) {
    static_cast<Producer *>(opaque)->delivered(*message);
}

void Producer::delivered(const rd_kafka_message_t &message) noexcept {
    --reports_missing;
    const auto number = reinterpret_cast<std::size_t>(message._private);
    if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (number == kPositionNumber)
            last_offset = message.offset;
        return;
    }
    const auto kind = kafka::undelivered(message.err);
    undelivered_any = true;
    if (kind == kafka::Undelivered::weather) {
        if (why.text.empty())
            why.text = rd_kafka_err2str(message.err);
        return;
    }
    // A position that is refused is no fault of an event.
    const bool of_message = kind == kafka::Undelivered::message && number != kPositionNumber;
    if (of_message)
        refused_last = std::max(refused_last, number + 1);
    // A missing topic is repaired first: it may be the reason for the rest.
    if (why.kind != Trouble::Kind::topic) {
        why.kind = of_message ? Trouble::Kind::message : Trouble::Kind::topic;
        why.text = rd_kafka_err2str(message.err);
        why.for_time = message.err == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP;
        if (why.for_time && !of_message)
            why.text += std::string(": ") + kClocksDiffer;
        why.topic = rd_kafka_topic_name(message.rkt);
        why.forbidden = kafka::forbidden(message.err);
    }
}

// A topic that may be seen and not written is refused when it joins the transaction. Which one is
// told to nobody but the log; its messages come back as purged.
void Producer::on_log(const rd_kafka_t *client, int level, const char *facility,
                      const char *text) noexcept {
    kafka::log_line(client, level, facility, text);
    auto *self = static_cast<Producer *>(rd_kafka_opaque(client));
    if (self == nullptr || std::strcmp(facility, "ADDPARTS") != 0 ||
        std::strstr(text, rd_kafka_err2str(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)) ==
            nullptr)
        return;
    const char *from = std::strchr(text, '"');
    const char *to = from != nullptr ? std::strchr(from + 1, '"') : nullptr;
    const std::lock_guard lock(self->mutex);
    self->forbidden_topic = to != nullptr ? std::string(from + 1, to) : "";
}

void Producer::name_forbidden_topic() {
    const std::lock_guard lock(mutex);
    if (!forbidden_topic || why.kind == Trouble::Kind::fenced)
        return;
    why.kind = Trouble::Kind::topic;
    why.topic = *forbidden_topic;
    why.text = rd_kafka_err2str(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    why.forbidden = true;
}

rd_kafka_resp_err_t Producer::on_new(rd_kafka_t *client, const rd_kafka_conf_t *, void *opaque,
                                     char *, size_t) {
    return rd_kafka_interceptor_add_on_request_sent(client, "once", on_request_sent, opaque);
}

rd_kafka_resp_err_t Producer::on_request_sent(rd_kafka_t *, int, const char *, int32_t,
                                              int16_t api_key, int16_t, int32_t, size_t,
                                              void *opaque) {
    if (api_key == kEndTxn) {
        static_cast<Producer *>(opaque)->end_txns_sent.fetch_add(1);
        crash_point(CrashPoint::in_commit);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

// --- its own thread: calls of librdkafka that block

void Producer::work() {
    std::unique_lock lock(mutex);
    for (;;) {
        wake_worker.wait(lock, [&] { return quit || job; });
        if (quit)
            return;
        const auto now = std::move(job);
        job = nullptr;
        lock.unlock();
        const Outcome outcome = now();
        lock.lock();
        result = outcome;
        busy = false;
        wake_waiter.notify_all();
    }
}

void Producer::start(std::function<Outcome()> what) {
    const std::lock_guard lock(mutex);
    busy = true;
    result.reset();
    job = std::move(what);
    wake_worker.notify_one();
}

bool Producer::working() const {
    const std::lock_guard lock(mutex);
    return busy || result.has_value();
}

Outcome Producer::wait(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex);
    if (!wake_waiter.wait_for(lock, timeout, [&] { return result.has_value(); }))
        return Outcome::retry;
    return *std::exchange(result, std::nullopt);
}

Outcome Producer::judge(kafka::Error error, const char *step) {
    const Outcome outcome = kafka::classify(error.get());
    if (outcome != Outcome::ok) {
        const auto code = rd_kafka_error_code(error.get());
        // A refusal that was reported says more than "the transaction has failed".
        if (why.kind != Trouble::Kind::message && why.kind != Trouble::Kind::topic) {
            why.forbidden = kafka::forbidden(code);
            why.kind = fenced(code) ? Trouble::Kind::fenced : Trouble::Kind::weather;
            why.text = std::string(step) + ": " + rd_kafka_error_string(error.get());
            name_forbidden_topic();
            if (code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
                why.text += " (transactional id \"" + transactional_id + "\")";
        }
    }
    return outcome;
}

void Producer::start_init(int timeout_ms) {
    start([this, timeout_ms] {
        why = {};
        return judge(kafka::Error(rd_kafka_init_transactions(client.get(), timeout_ms)),
                     "init_transactions");
    });
}

void Producer::start_commit(int timeout_ms) {
    start([this, timeout_ms] { return commit_now(timeout_ms); });
}

Outcome Producer::commit_now(int timeout_ms) {
    const Outcome outcome = judge(
        kafka::Error(rd_kafka_commit_transaction(client.get(), timeout_ms)), "commit_transaction");
    if (outcome != Outcome::ok) {
        commit_troubled = true;
        return outcome;
    }
    // R1: it is committed, but an EndTxn that was sent twice, or one whose answer we did not see,
    // may still be on its way and would end the next transaction of this epoch.
    const int sent = end_txns_sent - end_txns_before;
    if ((sent != 1 || commit_troubled) && !disabled_by_test(Rule::r1)) {
        why = {Trouble::Kind::unclean,
               "committed, with " + std::to_string(sent) + " EndTxn requests sent",
               {},
               0};
        return Outcome::abort;
    }
    return Outcome::ok;
}

// --- the pipeline's thread

Outcome Producer::begin() {
    why = {};
    undelivered_any = false;
    refused_last = 0;
    commit_troubled = false;
    end_txns_before = end_txns_sent;
    kept.clear();
    char reason[256];
    // #4420: begin after a fatal error hangs.
    if (rd_kafka_fatal_error(client.get(), reason, sizeof reason) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        why.text = reason;
        return Outcome::fatal;
    }
    return judge(kafka::Error(rd_kafka_begin_transaction(client.get())), "begin_transaction");
}

rd_kafka_topic_t *Producer::topic(const std::string &name) {
    if (recent_name != nullptr && *recent_name == name)
        return recent_topic;
    auto found = topics.find(name);
    if (found == topics.end())
        found = topics
                    .emplace(name,
                             kafka::Topic(rd_kafka_topic_new(client.get(), name.c_str(), nullptr)))
                    .first;
    recent_name = &found->first;
    recent_topic = found->second.get();
    return recent_topic;
}

Outcome Producer::produce(const Outgoing &message, kafka::Headers headers) {
    const auto bytes = [](const std::optional<std::string_view> &text) {
        // An empty value is not a null one; librdkafka tells them apart by the pointer.
        return text ? const_cast<char *>(text->empty() ? "" : text->data()) : nullptr;
    };
    const std::size_t key_size = message.key ? message.key->size() : 0;
    const std::size_t payload_size = message.payload ? message.payload->size() : 0;
    const auto error = rd_kafka_producev(
        client.get(), RD_KAFKA_V_RKT(topic(*message.topic)),
        RD_KAFKA_V_PARTITION(message.partition), RD_KAFKA_V_KEY(bytes(message.key), key_size),
        RD_KAFKA_V_VALUE(bytes(message.payload), payload_size),
        RD_KAFKA_V_TIMESTAMP(message.time_ms), RD_KAFKA_V_HEADERS(headers.get()),
        RD_KAFKA_V_OPAQUE(reinterpret_cast<void *>(message.number)), RD_KAFKA_V_END);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        static_cast<void>(headers.release());
        ++reports_missing;
        return Outcome::ok;
    }
    why.text = std::string("produce: ") + rd_kafka_err2str(error);
    why.topic = *message.topic;
    switch (kafka::undelivered(error)) {
    case kafka::Undelivered::message:
        why.kind = Trouble::Kind::message;
        why.suspects = message.number + 1;
        break;
    case kafka::Undelivered::topic:
        why.kind = Trouble::Kind::topic;
        break;
    case kafka::Undelivered::weather:
        why.kind = Trouble::Kind::weather;
    }
    return Outcome::abort;
}

Outcome Producer::flush(std::chrono::milliseconds timeout) {
    rd_kafka_flush(client.get(), static_cast<int>(timeout.count()));
    if (undelivered_any)
        return undelivered_outcome();
    if (reports_missing != 0)
        return Outcome::retry;
    kept.clear();
    return Outcome::ok;
}

Outcome Producer::undelivered_outcome() {
    why.suspects = refused_last;
    if (why.kind == Trouble::Kind::weather) {
        char reason[256];
        const auto code = rd_kafka_fatal_error(client.get(), reason, sizeof reason);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            why.text = reason;
        if (fenced(code))
            why.kind = Trouble::Kind::fenced;
        name_forbidden_topic();
    }
    return Outcome::abort;
}

// Without this the first message to a topic waits a second for its metadata (librdkafka #5032), and
// one to a topic that is missing half a minute.
Outcome Producer::know(const std::string &name, int timeout_ms, int &partitions) {
    partitions = 0;
    if (topics.count(name) != 0)
        return Outcome::ok;
    kafka::Topic handle(rd_kafka_topic_new(client.get(), name.c_str(), nullptr));
    const rd_kafka_metadata_t *raw = nullptr;
    const auto error = rd_kafka_metadata(client.get(), 0, handle.get(), &raw, timeout_ms);
    const kafka::Metadata metadata(raw);
    why = {};
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR || metadata->topic_cnt != 1) {
        why.text = std::string("metadata: ") + rd_kafka_err2str(error);
        return Outcome::retry;
    }
    const auto &answer = metadata->topics[0];
    if (answer.err == RD_KAFKA_RESP_ERR_NO_ERROR && answer.partition_cnt > 0) {
        topics.emplace(name, std::move(handle));
        partitions = answer.partition_cnt;
        return Outcome::ok;
    }
    why.text = rd_kafka_err2str(answer.err);
    why.topic = name;
    why.forbidden = kafka::forbidden(answer.err);
    if (kafka::undelivered(answer.err) == kafka::Undelivered::topic)
        why.kind = Trouble::Kind::topic;
    return Outcome::retry;
}

} // namespace once::outbox
