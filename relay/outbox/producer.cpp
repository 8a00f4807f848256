#include "relay/outbox/producer.hpp"

#include "relay/process/crash_point.hpp"
#include "relay/kafka/client.hpp"
#include "relay/kafka/compat.hpp"
#include "relay/options.hpp"
#include "relay/outbox/wall_clock.hpp"

#include <algorithm>
#include <cstring>
#include <map>

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
        // librdkafka accepts none above the transaction's.
        {"socket.timeout.ms",
         std::to_string(std::min(options.request_timeout_ms, options.transaction_timeout_ms))},
        {"acks", "all"},
        {"partitioner", "murmur2_random"}, // as the Java client: the same key, the same partition
        {"queue.buffering.max.messages", std::to_string(std::max(max_messages * 2, 100000))},
        // The broker judges the size of a message; batches stay at batch.size.
        {"message.max.bytes", "16000000"},
        {"linger.ms", "5"}, // flush() does not wait for it
        {"topic.metadata.refresh.fast.interval.ms", "100"},
    };
}

// One wait; between two of them stop and heartbeat are looked at.
constexpr std::chrono::milliseconds kSlice{250};
// A queue that stays full for so long belongs to a transaction that is lost.
constexpr std::chrono::seconds kRoomPatience{15};
// A longer silence between two reports of refused requests ends the collection of culprits.
constexpr int kReportGapMs = 50;
constexpr std::chrono::milliseconds kCollection{500};

// Nobody who waits will see it taken: an operator has to change a setting.
const char *permanent_hint(rd_kafka_resp_err_t code) {
    switch (code) {
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
        return "Set outbox.transaction_timeout_ms to at most the brokers' "
               "transaction.max.timeout.ms, or raise that.";
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
        return "The brokers are too old for transactions: Kafka 0.11 is the first that has them.";
    default:
        return nullptr;
    }
}

} // namespace

Producer::Producer(const KafkaOptions &options, std::string id, int max_messages, int batch_size,
                   kafka::Pulse pulse)
    : transactional_id_(std::move(id)), pulse_(std::move(pulse)) {
    auto conf = kafka::make_conf(
        options, producer_settings(options, transactional_id_, max_messages), RD_KAFKA_PRODUCER);
    if (batch_size > 0)
        rd_kafka_conf_set(conf.get(), "batch.size", std::to_string(batch_size).c_str(), nullptr, 0);
    rd_kafka_conf_set_opaque(conf.get(), this);
    rd_kafka_conf_set_dr_msg_cb(conf.get(), on_delivery);
    rd_kafka_conf_set_log_cb(conf.get(), on_log);
    rd_kafka_conf_interceptor_add_on_new(conf.get(), "once", on_new, this);
    client_ = kafka::make_client(std::move(conf), RD_KAFKA_PRODUCER);
    worker_ = std::thread([this] { work(); });
}

Producer::~Producer() {
    {
        const std::lock_guard lock(mutex_);
        quit_ = true;
    }
    wake_worker_.notify_one();
    worker_.join(); // a commit under way ends by its timeout
    // Nobody waits for reports any more. What was not committed is aborted by the next
    // init_transactions of this id, or by the coordinator's timeout.
    rd_kafka_purge(client_.get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                      RD_KAFKA_PURGE_F_NON_BLOCKING);
    topics_.clear();
    client_.reset();
}

// --- callbacks

void Producer::on_delivery(rd_kafka_t *, const rd_kafka_message_t *message, void *opaque) {
    static_cast<Producer *>(opaque)->delivered(*message);
}

void Producer::delivered(const rd_kafka_message_t &message) noexcept {
    --reports_missing_;
    const auto number = reinterpret_cast<std::size_t>(message._private);
    if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (number == kPositionNumber)
            last_offset_ = message.offset;
        return;
    }
    undelivered_any_ = true;
    if (kafka::different_record(message.err)) {
        neighbours_.insert({message.rkt, message.partition});
        return;
    }
    const auto kind = kafka::undelivered(message.err);
    if (kind == kafka::Undelivered::transient) {
        if (why_.text.empty())
            why_.text = rd_kafka_err2str(message.err);
        return;
    }
    // A position that is refused is no fault of an event.
    const bool of_message = kind == kafka::Undelivered::message && number != kPositionNumber;
    if (of_message)
        refused_.push_back({number, message.err, {message.rkt, message.partition}});
    // A missing topic is repaired first: it may be the reason for the rest.
    if (why_.kind != Trouble::Kind::topic) {
        why_.kind = of_message ? Trouble::Kind::message : Trouble::Kind::topic;
        why_.text = rd_kafka_err2str(message.err);
        why_.for_time = message.err == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP;
        why_.for_size = message.err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
                        message.err == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE;
        if (why_.for_time && !of_message)
            why_.text += std::string(": ") + kClocksDiffer;
        why_.topic = rd_kafka_topic_name(message.rkt);
        why_.forbidden = kafka::forbidden(message.err);
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
    const std::lock_guard lock(self->mutex_);
    self->forbidden_topic_ = to != nullptr ? std::string(from + 1, to) : "";
}

void Producer::name_forbidden_topic() {
    const std::lock_guard lock(mutex_);
    if (!forbidden_topic_ || why_.kind == Trouble::Kind::fenced)
        return;
    why_.kind = Trouble::Kind::topic;
    why_.topic = *forbidden_topic_;
    why_.text = rd_kafka_err2str(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    why_.forbidden = true;
}

rd_kafka_resp_err_t Producer::on_new(rd_kafka_t *client, const rd_kafka_conf_t *, void *opaque,
                                     char *, size_t) {
    return rd_kafka_interceptor_add_on_request_sent(client, "once", on_request_sent, opaque);
}

rd_kafka_resp_err_t Producer::on_request_sent(rd_kafka_t *, int, const char *, int32_t,
                                              int16_t api_key, int16_t, int32_t, size_t,
                                              void *opaque) {
    if (api_key == kEndTxn) {
        static_cast<Producer *>(opaque)->end_txns_sent_.fetch_add(1);
        crash_point(CrashPoint::in_commit);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

// --- its own thread: calls of librdkafka that block

void Producer::work() {
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_worker_.wait(lock, [&] { return quit_ || job_; });
        if (quit_)
            return;
        const auto now = std::move(job_);
        job_ = nullptr;
        lock.unlock();
        const Outcome outcome = now();
        lock.lock();
        result_ = outcome;
        busy_ = false;
        wake_waiter_.notify_all();
    }
}

void Producer::start(std::function<Outcome()> what) {
    const std::lock_guard lock(mutex_);
    busy_ = true;
    result_.reset();
    job_ = std::move(what);
    wake_worker_.notify_one();
}

bool Producer::working() const {
    const std::lock_guard lock(mutex_);
    return busy_ || result_.has_value();
}

Outcome Producer::wait(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    if (!wake_waiter_.wait_for(lock, timeout, [&] { return result_.has_value(); }))
        return Outcome::retry;
    return *std::exchange(result_, std::nullopt);
}

Outcome Producer::wait_long(std::chrono::milliseconds timeout) {
    const auto until = std::chrono::steady_clock::now() + timeout;
    for (;;) {
        const Outcome outcome = wait(kSlice);
        if (outcome != Outcome::retry || pulse_() || std::chrono::steady_clock::now() >= until)
            return outcome;
    }
}

Outcome Producer::noted(kafka::Error error, const char *step) {
    const Outcome outcome = kafka::classify(error.get());
    if (outcome != Outcome::ok) {
        const auto code = rd_kafka_error_code(error.get());
        // A refusal that was reported says more than "the transaction has failed".
        if (why_.kind != Trouble::Kind::message && why_.kind != Trouble::Kind::topic) {
            why_.forbidden = kafka::forbidden(code);
            why_.kind = fenced(code) ? Trouble::Kind::fenced : Trouble::Kind::transient;
            why_.text = std::string(step) + ": " + rd_kafka_error_string(error.get());
            if (const char *hint = permanent_hint(code)) {
                why_.permanent = true;
                why_.hint = hint;
            }
            name_forbidden_topic();
            if (code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
                why_.text += " (transactional id \"" + transactional_id_ + "\")";
        }
    }
    return outcome;
}

void Producer::start_init(const std::string &cluster, int timeout_ms) {
    start([this, cluster, timeout_ms] {
        why_ = {};
        // Of this client, which is new: an older one remembers the cluster it first met.
        const std::string found = kafka::cluster_id(client_.get(), timeout_ms);
        if (found.empty()) {
            why_.text = "no broker answers";
            return Outcome::retry;
        }
        if (found != cluster) {
            why_.text = "another Kafka cluster answers: " + found;
            why_.cluster = found;
            return Outcome::fatal;
        }
        return noted(kafka::Error(rd_kafka_init_transactions(client_.get(), timeout_ms)),
                     "init_transactions");
    });
}

void Producer::start_commit(int timeout_ms) {
    start([this, timeout_ms] { return commit_now(timeout_ms); });
}

Outcome Producer::commit_now(int timeout_ms) {
    const Outcome outcome = noted(
        kafka::Error(rd_kafka_commit_transaction(client_.get(), timeout_ms)), "commit_transaction");
    if (outcome != Outcome::ok) {
        commit_troubled_ = true;
        return outcome;
    }
    // R1: it is committed, but an EndTxn that was sent twice, or one whose answer we did not see,
    // may still be on its way and would end the next transaction of this epoch.
    const int sent = end_txns_sent_ - end_txns_before_;
    if ((sent != 1 || commit_troubled_) && !disabled_by_test(Rule::r1)) {
        why_ = {};
        why_.kind = Trouble::Kind::unclean;
        why_.text = "committed, with " + std::to_string(sent) + " EndTxn requests sent";
        return Outcome::abort;
    }
    return Outcome::ok;
}

// --- the pipeline's thread

Outcome Producer::begin() {
    why_ = {};
    undelivered_any_ = false;
    refused_.clear();
    neighbours_.clear();
    commit_troubled_ = false;
    end_txns_before_ = end_txns_sent_;
    kept_.clear();
    char reason[256];
    // #4420: begin after a fatal error hangs.
    if (rd_kafka_fatal_error(client_.get(), reason, sizeof reason) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        why_.text = reason;
        return Outcome::fatal;
    }
    return noted(kafka::Error(rd_kafka_begin_transaction(client_.get())), "begin_transaction");
}

rd_kafka_topic_t *Producer::topic(const std::string &name) {
    if (recent_name_ != nullptr && *recent_name_ == name)
        return recent_topic_;
    auto found = topics_.find(name);
    if (found == topics_.end())
        found = topics_
                    .emplace(name,
                             kafka::Topic(rd_kafka_topic_new(client_.get(), name.c_str(), nullptr)))
                    .first;
    recent_name_ = &found->first;
    recent_topic_ = found->second.get();
    return recent_topic_;
}

Outcome Producer::produce(const Outgoing &message, kafka::Headers headers) {
    const auto bytes = [](const std::optional<std::string_view> &text) {
        // An empty value is not a null one; librdkafka tells them apart by the pointer.
        return text ? const_cast<char *>(text->empty() ? "" : text->data()) : nullptr;
    };
    const std::size_t key_size = message.key ? message.key->size() : 0;
    const std::size_t payload_size = message.payload ? message.payload->size() : 0;
    const auto hand_over = [&] {
        return rd_kafka_producev(
            client_.get(), RD_KAFKA_V_RKT(topic(*message.topic)),
            RD_KAFKA_V_PARTITION(message.partition), RD_KAFKA_V_KEY(bytes(message.key), key_size),
            RD_KAFKA_V_VALUE(bytes(message.payload), payload_size),
            RD_KAFKA_V_TIMESTAMP(message.time_ms), RD_KAFKA_V_HEADERS(headers.get()),
            RD_KAFKA_V_OPAQUE(reinterpret_cast<void *>(message.number)), RD_KAFKA_V_END);
    };
    auto error = hand_over();
    while (error == RD_KAFKA_RESP_ERR__QUEUE_FULL && wait_for_room())
        error = hand_over();
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        static_cast<void>(headers.release());
        ++reports_missing_;
        return Outcome::ok;
    }
    if (undelivered_any_)
        return undelivered_outcome();
    why_.text = std::string("produce: ") + rd_kafka_err2str(error);
    why_.topic = *message.topic;
    switch (kafka::undelivered(error)) {
    case kafka::Undelivered::message:
        why_.kind = Trouble::Kind::message;
        why_.culprits = {{message.number, rd_kafka_err2str(error)}};
        break;
    case kafka::Undelivered::topic:
        why_.kind = Trouble::Kind::topic;
        break;
    case kafka::Undelivered::transient:
        why_.kind = Trouble::Kind::transient;
    }
    return Outcome::abort;
}

// Of earlier messages of the transaction. False: they do not go away, or one of them came back.
bool Producer::wait_for_room() {
    const std::size_t before = reports_missing_;
    const auto until = std::chrono::steady_clock::now() + kRoomPatience;
    while (reports_missing_ == before && before != 0)
        if (rd_kafka_poll(client_.get(), static_cast<int>(kSlice.count())) == 0 &&
            (pulse_() || std::chrono::steady_clock::now() >= until))
            return false;
    return before != 0 && !undelivered_any_;
}

Outcome Producer::flush_long(std::chrono::milliseconds timeout) {
    const auto until = std::chrono::steady_clock::now() + timeout;
    for (;;) {
        const Outcome outcome = flush(kSlice);
        if (outcome != Outcome::retry || pulse_() || std::chrono::steady_clock::now() >= until)
            return outcome;
    }
}

Outcome Producer::flush(std::chrono::milliseconds timeout) {
    rd_kafka_flush(client_.get(), static_cast<int>(timeout.count()));
    if (undelivered_any_)
        return undelivered_outcome();
    if (reports_missing_ != 0)
        return Outcome::retry;
    kept_.clear();
    return Outcome::ok;
}

// Requests that were under way with the refused one may name more.
void Producer::collect_reports() {
    const auto until = std::chrono::steady_clock::now() + kCollection;
    while (std::chrono::steady_clock::now() < until && reports_missing_ != 0)
        if (rd_kafka_poll(client_.get(), kReportGapMs) == 0)
            return;
}

// All messages of a refused request come back refused. At fault for certain is whom the broker
// names, and who was refused alone of its partition.
void Producer::name_culprits() {
    std::map<std::pair<const rd_kafka_topic_t *, std::int32_t>, int> refused;
    for (const RefusedMessage &message : refused_) {
        ++refused[message.partition];
        why_.suspects = std::max(why_.suspects, message.number + 1);
    }
    for (const RefusedMessage &message : refused_)
        if (neighbours_.count(message.partition) != 0 || refused[message.partition] == 1)
            why_.culprits.push_back({message.number, rd_kafka_err2str(message.error)});
    std::sort(why_.culprits.begin(), why_.culprits.end(),
              [](const Culprit &a, const Culprit &b) { return a.index < b.index; });
}

Outcome Producer::undelivered_outcome() {
    if (why_.kind == Trouble::Kind::message) {
        collect_reports();
        name_culprits();
    }
    if (why_.kind == Trouble::Kind::transient) {
        char reason[256];
        const auto code = rd_kafka_fatal_error(client_.get(), reason, sizeof reason);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            why_.text = reason;
        if (fenced(code))
            why_.kind = Trouble::Kind::fenced;
        name_forbidden_topic();
    }
    return Outcome::abort;
}

void Producer::start_lookup(TopicQuestion question, int timeout_ms) {
    start([this, question = std::move(question), timeout_ms] {
        answers_ = ask_topics(client_.get(), topics_, question, timeout_ms);
        recent_name_ = nullptr;
        return Outcome::ok;
    });
}

} // namespace once::outbox
