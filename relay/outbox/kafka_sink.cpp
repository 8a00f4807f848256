#include "relay/outbox/kafka_sink.hpp"

#include "extension/wire/column_headers.hpp"
#include "relay/process/crash_point.hpp"
#include "relay/process/log.hpp"
#include "relay/outbox/wall_clock.hpp"
#include "relay/process/whole_number.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <unistd.h>

namespace once::outbox {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// One attempt; the pipeline calls again. Below the timeout of the transaction.
constexpr int kCommitMs = 8000;
// Silence of a broker while positions are read. Another relay's open transaction hides the end for
// up to its timeout and the coordinator's scan.
constexpr milliseconds kReadSilence{40000};

// The application's headers as published, then ours.
kafka::Headers make_headers(const Event &event, const std::string &source, std::int64_t counter) {
    kafka::Headers headers(rd_kafka_headers_new(8));
    const auto add = [&](std::string_view name, wire::HeaderValue value) {
        // Without bytes a pointer tells an empty value from none.
        const char *bytes = value ? (value->empty() ? "" : value->data()) : nullptr;
        rd_kafka_header_add(headers.get(), name.data(), static_cast<ssize_t>(name.size()), bytes,
                            value ? static_cast<ssize_t>(value->size()) : 0);
    };
    std::string_view rest = event.headers;
    for (wire::Header header; !rest.empty() && wire::next_header(rest, header);)
        add(header.first, header.second);
    char number[24];
    const auto end = std::to_chars(number, number + sizeof number, counter).ptr;
    add(wire::kTopicHeader, event.topic);
    add(wire::kIdHeader, to_text(event.id));
    add(wire::kSourceHeader, source);
    add(wire::kPositionHeader, std::string_view(number, static_cast<std::size_t>(end - number)));
    return headers;
}

} // namespace

KafkaSink::KafkaSink(const Options &options, LaneMetrics &metrics, std::function<bool()> stopping)
    : options_(options), lane_(metrics.lane), partitions_(metrics.partitions),
      ring_size_(options.outbox.producers >= 2 ? 2 : 1),
      log_(std::make_unique<PositionLog>(options.kafka, std::move(stopping))) {}

Outcome KafkaSink::told(Outcome outcome, const Producer &producer) {
    if (outcome != Outcome::ok)
        why_ = producer.trouble();
    return outcome;
}

Outcome KafkaSink::reach(bool may_create) {
    const Outcome outcome = log_->ensure(may_create);
    why_ = log_->trouble();
    return outcome;
}

ReadBack KafkaSink::peek(const std::string &incarnation, std::optional<std::int64_t> hint) {
    auto answer = log_->last(position_key(incarnation, lane_), hint, std::nullopt, kReadSilence);
    why_ = log_->trouble();
    return answer;
}

// Both ids, whatever ring is used: the predecessor may have had another.
Outcome KafkaSink::open(const std::string &incarnation, Timeout timeout) {
    close();
    source_ = position_key(incarnation, lane_);
    crash_point(CrashPoint::before_init);
    for (int i = 0; i < 2; ++i) {
        const std::string id =
            "once-" + incarnation + "-" + std::to_string(lane_) + "-" + std::to_string(i);
        producers_.push_back(
            std::make_unique<Producer>(options_.kafka, id, options_.outbox.max_rows));
        producers_.back()->start_init(static_cast<int>(timeout.count()));
    }
    Outcome outcome = Outcome::ok;
    for (const auto &producer : producers_) {
        const Outcome its = producer->wait(timeout + milliseconds(2000));
        if (its != Outcome::ok) {
            outcome = its;
            why_ = producer->trouble();
        }
    }
    if (outcome != Outcome::ok) {
        close(); // the next attempt begins with new ones
        return outcome;
    }
    producers_.resize(ring_size_);
    turn_ = 0;
    crash_point(CrashPoint::after_init);
    return Outcome::ok;
}

void KafkaSink::close() noexcept {
    filled_ = committer_ = nullptr;
    producers_.clear();
}

void KafkaSink::abandon() noexcept {
    filled_ = committer_ = nullptr;
    for (auto &producer : producers_)
        if (producer->working())
            static_cast<void>(producer.release()); // its thread sits in a call that takes its time
    producers_.clear();
}

ReadBack KafkaSink::read_back(std::optional<std::int64_t> hint, Timeout timeout) {
    if (const Outcome outcome = commit_start_record(timeout); outcome != Outcome::ok)
        return {outcome, std::nullopt};
    crash_point(CrashPoint::after_start_record);
    auto answer = log_->last(source_, hint, offset_, kReadSilence);
    if (answer.outcome != Outcome::ok)
        why_ = log_->trouble();
    return answer;
}

// Its delivery report is an end that no deposed leader can have told us.
Outcome KafkaSink::commit_start_record(Timeout timeout) {
    const auto deadline = Clock::now() + timeout;
    Producer &producer = *producers_.front();
    int ignored = 0;
    if (const auto outcome = producer.know(options_.kafka.position_topic,
                                           static_cast<int>(timeout.count()), ignored);
        outcome != Outcome::ok)
        return told(outcome, producer);
    if (const auto outcome = producer.begin(); outcome != Outcome::ok)
        return told(outcome, producer);
    value_ =
        nlohmann::json{{"format", kPositionFormat}, {"pid", ::getpid()}, {"version", ONCE_VERSION}}
            .dump();
    const std::string key = source_ + "/start";
    if (const auto outcome = produce_position(producer, key, value_); outcome != Outcome::ok)
        return told(outcome, producer);
    Outcome outcome = producer.flush(timeout);
    if (outcome != Outcome::ok)
        return told(outcome == Outcome::retry ? Outcome::abort : outcome, producer);
    offset_ = producer.position_offset();
    producer.start_commit(kCommitMs);
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    outcome = producer.wait(std::max(left, milliseconds(kCommitMs + 1000)));
    // Not known is as bad as failed: the pipeline takes new producers and asks again.
    return told(outcome == Outcome::retry ? Outcome::abort : outcome, producer);
}

Outcome KafkaSink::produce_position(Producer &producer, const std::string &key,
                                    const std::string &text) {
    Outgoing record;
    record.topic = &options_.kafka.position_topic;
    record.key = key;
    record.payload = text;
    record.partition = 0;
    record.number = Producer::kPositionNumber;
    return producer.produce(record, kafka::Headers(rd_kafka_headers_new(0)));
}

Outcome KafkaSink::prepare(const Batch &batch, Timeout timeout) {
    Producer &producer = *producers_[turn_];
    const int timeout_ms = static_cast<int>(timeout.count());
    int count = 0;
    Outcome outcome = producer.know(options_.kafka.position_topic, timeout_ms, count);
    std::string_view recent;
    std::string name;
    for (const Event &event : batch.events) {
        if (outcome != Outcome::ok)
            break;
        if (event.topic == recent)
            continue;
        recent = event.topic;
        name = event.topic;
        outcome = producer.know(name, timeout_ms, count);
        if (count != 0)
            note_partitions(name, count);
    }
    return told(outcome, producer);
}

void KafkaSink::note_partitions(const std::string &topic, int count) {
    const int before = partitions_.note(topic, count);
    if (before != 0 && before != count)
        log::warning("partitions_changed",
                     {{"topic", topic},
                      {"before", before},
                      {"now", count},
                      {"hint", "the order of a key does not hold across the change"}});
}

Outcome KafkaSink::produce_all(Producer &producer, const Batch &batch, std::int64_t first_counter) {
    Outgoing message;
    std::string topic;
    message.topic = &topic;
    std::int64_t counter = first_counter;
    const std::int64_t now_ms = wall_ms();
    for (std::size_t i = 0; i < batch.events.size(); ++i) {
        const Event &event = batch.events[i];
        if (topic != event.topic) {
            topic = event.topic;
            if (topic == options_.kafka.position_topic)
                return refuse_forged(i);
        }
        message.key = event.key;
        message.payload = event.payload;
        message.partition = event.partition;
        // Brokers refuse what is an hour ahead of them: a server whose clock is wrong is no reason
        // to put its events aside.
        message.time_ms = std::min(event.time_ms, now_ms);
        message.number = i;
        const Outcome outcome = producer.produce(message, make_headers(event, source_, counter++));
        if (outcome != Outcome::ok)
            return told(outcome, producer);
        if (i == batch.events.size() / 2)
            crash_point(CrashPoint::after_k_messages);
        if (i % 1024 == 1023)
            producer.poll();
    }
    return Outcome::ok;
}

// Whoever may publish could else write positions with our rights, also those of other databases.
Outcome KafkaSink::refuse_forged(std::size_t index) {
    why_ = {};
    why_.kind = Trouble::Kind::message;
    why_.topic = options_.kafka.position_topic;
    why_.text = "topic \"" + why_.topic + "\" is for positions alone";
    why_.suspects = index + 1;
    return Outcome::abort;
}

Outcome KafkaSink::fill(const Batch &batch, std::int64_t first_counter, const Position &position) {
    Producer &producer = *producers_[turn_];
    turn_ = (turn_ + 1) % ring_size_;
    crash_point(CrashPoint::before_begin);
    if (const Outcome outcome = producer.begin(); outcome != Outcome::ok)
        return told(outcome, producer);
    producer.keep(batch.arena);
    if (const Outcome outcome = produce_all(producer, batch, first_counter); outcome != Outcome::ok)
        return outcome;
    crash_point(CrashPoint::before_position);
    value_ = encode(position);
    if (!disabled_by_test(Rule::position_in_transaction))
        if (const Outcome outcome = produce_position(producer, source_, value_);
            outcome != Outcome::ok)
            return told(outcome, producer);
    crash_point(CrashPoint::after_position);
    filled_ = &producer;
    return Outcome::ok;
}

Outcome KafkaSink::flush(Timeout timeout) {
    const Outcome outcome = filled_->flush(timeout);
    if (outcome == Outcome::ok)
        offset_ = filled_->position_offset();
    return told(outcome, *filled_);
}

void KafkaSink::commit() {
    crash_point(CrashPoint::before_commit);
    committer_ = std::exchange(filled_, nullptr);
    committer_->start_commit(kCommitMs);
}

// R3: once commit was called only commit is called again.
Outcome KafkaSink::settle(Timeout timeout) {
    if (committer_ == nullptr)
        return Outcome::ok;
    if (!committer_->working())
        committer_->start_commit(kCommitMs);
    const Outcome outcome = committer_->wait(timeout);
    if (outcome == Outcome::retry)
        return outcome;
    Producer &producer = *std::exchange(committer_, nullptr);
    if (outcome == Outcome::ok) {
        crash_point(CrashPoint::after_commit);
        if (disabled_by_test(Rule::position_in_transaction))
            return position_by_itself(producer);
    }
    return told(outcome, producer);
}

// What everybody would write first, and what doubles: the position in a transaction of its own. For
// the control test alone.
Outcome KafkaSink::position_by_itself(Producer &producer) {
    Outcome outcome = producer.begin();
    if (outcome == Outcome::ok)
        outcome = produce_position(producer, source_, value_);
    if (outcome == Outcome::ok)
        outcome = producer.flush(milliseconds(kCommitMs));
    if (outcome == Outcome::ok) {
        producer.start_commit(kCommitMs);
        outcome = producer.wait(milliseconds(kCommitMs));
    }
    return told(outcome == Outcome::retry ? Outcome::abort : outcome, producer);
}

Outcome KafkaSink::scan(const std::vector<std::string> &topics, const std::string &wanted,
                        std::int64_t since_ms, const Seen &seen) {
    const auto header = [](rd_kafka_headers_t *headers, std::string_view name) -> std::string_view {
        const void *text = nullptr;
        size_t size = 0;
        if (headers == nullptr || // the names are literals, which end in a zero
            rd_kafka_header_get_last(headers, name.data(), &text, &size) !=
                RD_KAFKA_RESP_ERR_NO_ERROR)
            return {};
        return {static_cast<const char *>(text), size};
    };
    for (const std::string &topic : topics) {
        const Outcome outcome =
            log_->scan(topic, since_ms, kReadSilence, [&](const rd_kafka_message_t &message) {
                rd_kafka_headers_t *headers = nullptr;
                rd_kafka_message_headers(&message, &headers);
                const auto written_to = header(headers, wire::kTopicHeader);
                if (!written_to.empty() && written_to != topic)
                    return; // a copy that somebody made
                if (!header(headers, wire::kSourceHeader).starts_with(wanted))
                    return;
                if (const auto id = uuid_from_text(header(headers, wire::kIdHeader)))
                    seen(*id, whole_number<std::int64_t>(header(headers, wire::kPositionHeader))
                                  .value_or(0));
            });
        if (outcome != Outcome::ok) {
            why_ = log_->trouble();
            return outcome;
        }
    }
    return Outcome::ok;
}

} // namespace once::outbox
