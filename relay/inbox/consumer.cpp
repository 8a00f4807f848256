#include "relay/inbox/consumer.hpp"

#include "relay/process/crash_point.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/kafka/admin.hpp"
#include "relay/kafka/client.hpp"
#include "relay/kafka/compat.hpp"
#include "relay/process/metrics.hpp"
#include "relay/options.hpp"

#include <algorithm>
#include <cstring>
#include <set>

namespace once::inbox {
namespace {

constexpr int kCloseMs = 5000;
constexpr int kTopicIdsMs = 3000; // asked before each transaction: a stop must not wait for longer
// ApiKeys; the last one is the heartbeat of group.protocol=consumer (KIP-848).
constexpr std::int16_t kFetchRequest = 1, kHeartbeatRequest = 12, kGroupHeartbeatRequest = 68;
constexpr std::int64_t kEarliestTimestamp = -2, kLatestTimestamp = -1; // ListOffsets protocol

struct DestroyList {
    void operator()(rd_kafka_topic_partition_list_t *list) const noexcept {
        rd_kafka_topic_partition_list_destroy(list);
    }
    void operator()(const rd_kafka_group_list *list) const noexcept {
        rd_kafka_group_list_destroy(list);
    }
};
using List = std::unique_ptr<rd_kafka_topic_partition_list_t, DestroyList>;
using GroupList = std::unique_ptr<const rd_kafka_group_list, DestroyList>;

List list_of(const std::vector<TopicPartition> &places) {
    List list(rd_kafka_topic_partition_list_new(static_cast<int>(places.size())));
    for (const TopicPartition &place : places)
        rd_kafka_topic_partition_list_add(list.get(), place.topic.c_str(), place.partition);
    return list;
}

List list_of(const Offsets &offsets) {
    List list(rd_kafka_topic_partition_list_new(static_cast<int>(offsets.size())));
    for (const auto &[place, offset] : offsets)
        rd_kafka_topic_partition_list_add(list.get(), place.topic.c_str(), place.partition)
            ->offset = offset;
    return list;
}

std::vector<TopicPartition> places_of(const rd_kafka_topic_partition_list_t *list) {
    std::vector<TopicPartition> places;
    for (int i = 0; i < list->cnt; ++i)
        places.push_back({list->elems[i].topic, list->elems[i].partition});
    return places;
}

std::vector<TopicPartition> keys_of(const Offsets &offsets) {
    std::vector<TopicPartition> places;
    for (const auto &[place, offset] : offsets)
        places.push_back(place);
    return places;
}

void set(rd_kafka_conf_t *conf, const std::string &name, const std::string &value) {
    char reason[512];
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), reason, sizeof reason) !=
        RD_KAFKA_CONF_OK)
        throw Refusal(ExitCode::configuration, "cannot set \"kafka." + name + "\"", reason);
}

// Heartbeats and fetches are answered even when there is nothing to read: that the brokers are
// there is measured at the wire.
rd_kafka_resp_err_t on_response(rd_kafka_t *, int, const char *, int32_t, int16_t key, int16_t,
                                int32_t, size_t, int64_t, rd_kafka_resp_err_t code, void *opaque) {
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR &&
        (key == kFetchRequest || key == kHeartbeatRequest || key == kGroupHeartbeatRequest))
        *static_cast<std::atomic<std::int64_t> *>(opaque) = now_ms();
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_resp_err_t on_new(rd_kafka_t *client, const rd_kafka_conf_t *, void *opaque, char *,
                           size_t) {
    return rd_kafka_interceptor_add_on_response_received(client, "once", on_response, opaque);
}

struct Setting {
    const char *name;
    const char *value;
};

// What an operator may change, where librdkafka's own default does not fit.
constexpr Setting kDefaults[] = {
    // Memory: what was fetched and not yet applied.
    {"queued.max.messages.kbytes", "16384"},
    {"fetch.max.bytes", "8388608"},
    // How soon a new topic that fits a pattern is found.
    {"topic.metadata.refresh.interval.ms", "30000"},
};

// A member that was killed blocks its partitions for so long; a false alarm costs a rebalance only,
// exactness rests on the fence in the database. The broker's least by default. With
// group.protocol=consumer (KIP-848) the broker decides, and librdkafka refuses both.
constexpr Setting kClassicGroup[] = {
    {"session.timeout.ms", "6000"},
    {"heartbeat.interval.ms", "1500"},
};

bool is_rebalance(const Polled &polled) {
    return polled.kind == Polled::Kind::assigned || polled.kind == Polled::Kind::revoked;
}

// The fetcher stops when so many messages wait, and a second must not be longer than they last.
// Headers count in neither limit: no more than it takes.
kafka::Settings fetch_ahead() {
    if (kafka::fetcher_sleeps_a_second())
        return {{"queued.min.messages", "70000"}};
    return {{"queued.min.messages", "20000"}, {"fetch.queue.backoff.ms", "20"}};
}

kafka::Settings defaults(const KafkaOptions &kafka) {
    kafka::Settings settings = fetch_ahead();
    for (const Setting &setting : kDefaults)
        settings.emplace_back(setting.name, setting.value);
    const auto protocol = kafka.passthrough.find("group.protocol");
    if (protocol == kafka.passthrough.end() || protocol->second != "consumer")
        for (const Setting &setting : kClassicGroup)
            settings.emplace_back(setting.name, setting.value);
    return settings;
}

// What exactness rests on: set last, they win.
constexpr Setting kFixed[] = {
    {"isolation.level", "read_committed"},
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    // An offset that is not there is a decision of an operator, never a reason to jump.
    {"auto.offset.reset", "error"},
    {"enable.partition.eof", "true"},
    {"check.crcs", "true"},
};

} // namespace

Consumer::Consumer(const KafkaOptions &kafka, const InboxOptions &options,
                   const std::string &client_id)
    : topic_(options.topic), group_(options.group), request_timeout_ms_(kafka.request_timeout_ms) {
    kafka::Conf conf = kafka::make_conf(kafka, defaults(kafka), RD_KAFKA_CONSUMER);
    set(conf.get(), "group.id", group_);
    set(conf.get(), "client.id", client_id);
    for (const Setting &setting : kFixed)
        set(conf.get(), setting.name, setting.value);
    rd_kafka_conf_set_opaque(conf.get(), this);
    rd_kafka_conf_set_rebalance_cb(conf.get(), on_rebalance);
    rd_kafka_conf_interceptor_add_on_new(conf.get(), "once", on_new, last_answer_ms_.get());
    client_ = kafka::make_client(std::move(conf), RD_KAFKA_CONSUMER);
    rd_kafka_poll_set_consumer(client_.get());
}

Consumer::~Consumer() {
    close();
    waiting_.clear(); // messages before their client
    kafka::destroy_or_leave(std::move(client_), last_answer_ms_);
}

void Consumer::subscribe() {
    const List topics = list_of({TopicPartition{topic_, RD_KAFKA_PARTITION_UA}});
    if (const auto code = rd_kafka_subscribe(client_.get(), topics.get()))
        throw Refusal(ExitCode::configuration,
                      "could not subscribe to \"" + topic_ + "\": " + rd_kafka_err2str(code));
}

// Runs inside rd_kafka_consumer_poll on the thread that polls.
void Consumer::on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code,
                            rd_kafka_topic_partition_list_t *list, void *self) noexcept {
    auto &consumer = *static_cast<Consumer *>(self);
    Polled polled;
    polled.kind = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? Polled::Kind::assigned
                                                               : Polled::Kind::revoked;
    polled.places = places_of(list);
    polled.fenced_off = rd_kafka_assignment_lost(client) != 0;
    consumer.waiting_.push_back(std::move(polled));
    // Ends the poll: the answer comes before the next message.
    rd_kafka_yield(client);
}

Polled Consumer::poll(int timeout_ms) {
    if (waiting_.empty())
        poll_client(timeout_ms);
    if (waiting_.empty())
        return {};
    Polled next = std::move(waiting_.front());
    waiting_.pop_front();
    return next;
}

std::optional<Message> Consumer::message_at_hand() {
    if (waiting_.empty())
        poll_client(0);
    if (waiting_.empty() || waiting_.front().kind != Polled::Kind::message)
        return std::nullopt;
    Message message = std::move(waiting_.front().message);
    waiting_.pop_front();
    return message;
}

// A message beside a rebalance belongs to a partition that stays: dropped, it would be lost.
void Consumer::poll_client(int timeout_ms) {
    const std::size_t before = waiting_.size();
    if (kafka::Message raw{rd_kafka_consumer_poll(client_.get(), timeout_ms)}) {
        const bool rebalanced = waiting_.size() > before;
        waiting_.insert(rebalanced ? waiting_.end() - 1 : waiting_.end(), from(std::move(raw)));
    }
}

// What was polled before places got a new position would come twice, and in the wrong order.
void Consumer::forget_waiting(const std::vector<TopicPartition> &places) {
    std::erase_if(waiting_, [&](const Polled &polled) {
        const bool message = polled.kind == Polled::Kind::message;
        const std::string_view name = message ? polled.message.topic : polled.place.topic;
        const std::int32_t number = message ? polled.message.partition : polled.place.partition;
        return std::any_of(places.begin(), places.end(), [&](const TopicPartition &place) {
            return place.topic == name && place.partition == number;
        });
    });
}

Polled Consumer::from(kafka::Message raw) const {
    Polled polled;
    polled.offset = raw->offset;
    const char *name = raw->rkt != nullptr ? rd_kafka_topic_name(raw->rkt) : "";
    if (raw->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        const bool end = raw->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        const bool gone = raw->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET;
        char reason[512] = "";
        const bool fatal = raw->err == RD_KAFKA_RESP_ERR__FATAL ||
                           rd_kafka_fatal_error(client_.get(), reason, sizeof reason);
        polled.outlived = raw->err == RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED;
        polled.kind = end     ? Polled::Kind::end
                      : gone  ? Polled::Kind::out_of_range
                      : fatal ? Polled::Kind::lost
                              : Polled::Kind::trouble;
        polled.blocked = raw->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
                         raw->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
                         raw->err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
        polled.place = {name, raw->partition};
        polled.text = fatal && *reason != '\0' ? reason : rd_kafka_message_errstr(raw.get());
        return polled;
    }
    polled.kind = Polled::Kind::message;
    Message &message = polled.message;
    message.topic = name; // lives as long as the message
    message.partition = raw->partition;
    message.offset = raw->offset;
    if (raw->key != nullptr)
        message.key = {static_cast<const char *>(raw->key), raw->key_len};
    if (raw->payload != nullptr)
        message.payload = {static_cast<const char *>(raw->payload), raw->len};
    rd_kafka_timestamp_type_t kind;
    const std::int64_t time = rd_kafka_message_timestamp(raw.get(), &kind);
    if (kind != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
        message.time_ms = time_of(time);
    rd_kafka_headers_t *headers = nullptr;
    if (rd_kafka_message_headers(raw.get(), &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        const char *header = nullptr;
        const void *value = nullptr;
        std::size_t size = 0;
        for (std::size_t i = 0; !rd_kafka_header_get_all(headers, i, &header, &value, &size); ++i)
            message.headers.push_back({header, value != nullptr
                                                   ? std::optional<std::string_view>(
                                                         {static_cast<const char *>(value), size})
                                                   : std::nullopt});
    }
    message.owner = std::shared_ptr<rd_kafka_message_t>(raw.release(), &rd_kafka_message_destroy);
    return polled;
}

bool Consumer::cooperative() const {
    const char *protocol = rd_kafka_rebalance_protocol(client_.get());
    return protocol != nullptr && std::strcmp(protocol, "COOPERATIVE") == 0;
}

void Consumer::assign(const Offsets &changed, const Offsets &all) {
    const bool step_by_step = cooperative();
    forget_waiting(keys_of(step_by_step ? changed : all));
    if (step_by_step) {
        std::vector<TopicPartition> again;
        for (const auto &[place, offset] : changed)
            if (std::find(held_.begin(), held_.end(), place) != held_.end())
                again.push_back(place);
        if (!again.empty())
            kafka::Error(rd_kafka_incremental_unassign(client_.get(), list_of(again).get()));
        const kafka::Error error(
            rd_kafka_incremental_assign(client_.get(), list_of(changed).get()));
        if (error)
            throw KafkaUnavailable(std::string("could not assign: ") +
                                   rd_kafka_error_string(error.get()));
    } else if (const auto code = rd_kafka_assign(client_.get(), list_of(all).get())) {
        throw KafkaUnavailable(std::string("could not assign: ") + rd_kafka_err2str(code));
    }
    for (const auto &[place, offset] : step_by_step ? changed : all)
        if (std::find(held_.begin(), held_.end(), place) == held_.end())
            held_.push_back(place);
}

void Consumer::release(std::vector<TopicPartition> places) {
    forget_waiting(places);
    if (cooperative()) {
        std::vector<TopicPartition> known;
        for (const TopicPartition &place : places)
            if (std::find(held_.begin(), held_.end(), place) != held_.end())
                known.push_back(place);
        // Also with an empty list: the group waits for the answer.
        kafka::Error(rd_kafka_incremental_unassign(client_.get(), list_of(known).get()));
        for (const TopicPartition &place : places)
            std::erase(held_, place);
    } else {
        rd_kafka_assign(client_.get(), nullptr);
        held_.clear();
    }
}

void Consumer::pause(const std::vector<TopicPartition> &places) {
    if (!places.empty())
        rd_kafka_pause_partitions(client_.get(), list_of(places).get());
}

void Consumer::resume(const std::vector<TopicPartition> &places) {
    if (!places.empty())
        rd_kafka_resume_partitions(client_.get(), list_of(places).get());
}

std::vector<TopicPartition> Consumer::partitions(const std::string &name) {
    const kafka::Topic handle(rd_kafka_topic_new(client_.get(), name.c_str(), nullptr));
    const rd_kafka_metadata_t *raw = nullptr;
    const auto code = rd_kafka_metadata(client_.get(), 0, handle.get(), &raw, request_timeout_ms_);
    const kafka::Metadata metadata(raw);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR || metadata->topic_cnt != 1)
        throw KafkaUnavailable("could not ask for the partitions of " + name + ": " +
                               rd_kafka_err2str(code));
    std::vector<TopicPartition> places;
    for (int i = 0; i < metadata->topics[0].partition_cnt; ++i)
        places.push_back({name, metadata->topics[0].partitions[i].id});
    return places;
}

Offsets Consumer::edges(const std::vector<TopicPartition> &places, Edge edge) {
    // Not rd_kafka_query_watermark_offsets: in 2.0.2 it ignores its timeout (#4460).
    Offsets result;
    if (places.empty())
        return result;
    const List list = list_of(places);
    for (int i = 0; i < list->cnt; ++i)
        list->elems[i].offset = edge == Edge::earliest ? kEarliestTimestamp : kLatestTimestamp;
    if (const auto code =
            rd_kafka_offsets_for_times(client_.get(), list.get(), request_timeout_ms_))
        throw KafkaUnavailable(std::string("could not ask for offsets: ") + rd_kafka_err2str(code));
    for (int i = 0; i < list->cnt; ++i) {
        const rd_kafka_topic_partition_t &found = list->elems[i];
        if (found.err != RD_KAFKA_RESP_ERR_NO_ERROR || found.offset < 0)
            throw KafkaUnavailable("could not ask for the offsets of " + std::string(found.topic) +
                                   "/" + std::to_string(found.partition) + ": " +
                                   rd_kafka_err2str(found.err));
        result[{found.topic, found.partition}] = found.offset;
    }
    return result;
}

std::map<TopicPartition, Committed, TopicPartitionOrder>
Consumer::committed(const std::vector<TopicPartition> &places) {
    std::map<TopicPartition, Committed, TopicPartitionOrder> result;
    if (places.empty())
        return result;
    const List list = list_of(places);
    if (const auto code = rd_kafka_committed(client_.get(), list.get(), request_timeout_ms_))
        throw KafkaUnavailable(std::string("could not ask for the group's offsets: ") +
                               rd_kafka_err2str(code));
    for (int i = 0; i < list->cnt; ++i) {
        const rd_kafka_topic_partition_t &found = list->elems[i];
        if (found.err != RD_KAFKA_RESP_ERR_NO_ERROR)
            throw KafkaUnavailable(
                "could not ask for the group's offset of " + std::string(found.topic) + "/" +
                std::to_string(found.partition) + ": " + rd_kafka_err2str(found.err));
        Committed committed;
        if (found.offset >= 0) {
            committed.offset = found.offset;
            committed.note = {static_cast<const char *>(found.metadata),
                              found.metadata != nullptr ? found.metadata_size : 0};
        }
        result[{found.topic, found.partition}] = committed;
    }
    return result;
}

bool Consumer::tells_topic_ids() const {
    return kafka::knows_topic_ids() && !disabled_by_test(Rule::topic_ids);
}

TopicIds Consumer::topic_ids(const std::vector<TopicPartition> &places) {
    if (!tells_topic_ids())
        return {};
    std::set<std::string> names;
    for (const TopicPartition &place : places)
        names.insert(place.topic);
    std::string error;
    TopicIds ids = kafka::topic_ids(client_.get(), {names.begin(), names.end()},
                                    std::min(request_timeout_ms_, kTopicIdsMs), error);
    if (!error.empty())
        throw KafkaUnavailable("could not ask for topic ids: " + error);
    return ids;
}

std::vector<std::string> Consumer::member_clients() {
    const rd_kafka_group_list *found = nullptr;
    const auto code =
        rd_kafka_list_groups(client_.get(), group_.c_str(), &found, request_timeout_ms_);
    const GroupList groups(found);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        throw KafkaUnavailable(std::string("could not ask for the group's members: ") +
                               rd_kafka_err2str(code) + kafka::because());
    std::vector<std::string> clients;
    for (int i = 0; i < groups->group_cnt; ++i)
        for (int member = 0; member < groups->groups[i].member_cnt; ++member)
            clients.emplace_back(groups->groups[i].members[member].client_id);
    return clients;
}

void Consumer::commit_offsets(const Offsets &next) {
    if (next.empty())
        return;
    const List list = list_of(next);
    for (int i = 0; i < list->cnt; ++i) {
        list->elems[i].metadata = ::strdup(kCommitNote.data()); // freed with the list
        list->elems[i].metadata_size = kCommitNote.size();
    }
    rd_kafka_commit(client_.get(), list.get(), 1); // lost advice is given again with the next
}

std::int64_t Consumer::known_end(const TopicPartition &place) const {
    std::int64_t low = -1, high = -1;
    rd_kafka_get_watermark_offsets(client_.get(), place.topic.c_str(), place.partition, &low,
                                   &high);
    return high;
}

void Consumer::close() {
    if (closed_)
        return;
    closed_ = true;
    // Messages that were taken ahead and a rebalance that nobody answered would be taken for the
    // one that closing brings.
    const bool unanswered = std::any_of(waiting_.begin(), waiting_.end(), is_rebalance);
    waiting_.clear();
    if (unanswered)
        release(held_);
    // rd_kafka_consumer_close waits for ever when no broker answers.
    const std::unique_ptr<rd_kafka_queue_t, kafka::Destroy> queue(
        rd_kafka_queue_new(client_.get()));
    if (const kafka::Error error(rd_kafka_consumer_close_queue(client_.get(), queue.get())); error)
        return;
    const std::int64_t deadline = now_ms() + kCloseMs;
    while (rd_kafka_consumer_closed(client_.get()) == 0 && now_ms() < deadline) {
        // Serves the rebalance; messages that were fetched come out too, and are of no use now.
        const kafka::Message unused(rd_kafka_consume_queue(queue.get(), 100));
        const bool revoked = !waiting_.empty();
        waiting_.clear();
        if (revoked)
            release(held_);
    }
}

} // namespace once::inbox
