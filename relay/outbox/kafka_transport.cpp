#include "relay/outbox/kafka_transport.hpp"

#include "extension/wire/column_headers.hpp"
#include "relay/process/crash_point.hpp"
#include "relay/process/log.hpp"
#include "relay/process/whole_number.hpp"
#include "relay/outbox/wall_clock.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>

namespace once::outbox {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// One attempt; the pipeline calls again. Below the timeout of the transaction.
constexpr int kCommitMs = 8000;
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

// librdkafka's default, which a setting that is passed through may change.
int configured_batch_size(const KafkaOptions &options) {
    constexpr int kDefault = 1'000'000;
    const auto given = options.passthrough.find("batch.size");
    return given == options.passthrough.end() ? kDefault
                                              : whole_number<int>(given->second).value_or(kDefault);
}

bool is_compressed(const KafkaOptions &options) {
    for (const char *name : {"compression.type", "compression.codec"})
        if (const auto given = options.passthrough.find(name);
            given != options.passthrough.end() && given->second != "none")
            return true;
    return false;
}

} // namespace

KafkaTransport::KafkaTransport(const Options &options, LaneMetrics &metrics, kafka::Pulse pulse)
    : options_(options), lane_(metrics.lane), partitions_(metrics.partitions),
      ring_size_(options.outbox.producers >= 2 ? 2 : 1), pulse_(std::move(pulse)),
      compressed_(is_compressed(options.kafka)), batch_size_(configured_batch_size(options.kafka)) {
}

Outcome KafkaTransport::away(const std::string &reason) {
    why_ = {};
    why_.text = reason;
    return Outcome::retry;
}

Outcome KafkaTransport::noted(Outcome outcome, const Producer &producer) {
    if (outcome != Outcome::ok)
        why_ = producer.trouble();
    return outcome;
}

// Both ids, whatever ring is used: the predecessor may have had another.
Outcome KafkaTransport::open(const std::string &incarnation, const std::string &cluster,
                             Timeout timeout) {
    close();
    source_ = position_key(incarnation, lane_);
    crash_point(CrashPoint::before_init);
    for (int i = 0; i < 2; ++i) {
        const std::string id =
            "once-" + incarnation + "-" + std::to_string(lane_) + "-" + std::to_string(i);
        producers_.push_back(std::make_unique<Producer>(
            options_.kafka, id, options_.outbox.max_rows, batch_size_, pulse_));
        producers_.back()->start_init(cluster, static_cast<int>(timeout.count()));
    }
    Outcome outcome = Outcome::ok;
    for (const auto &producer : producers_) {
        const Outcome its = producer->wait_long(timeout + milliseconds(2000));
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

void KafkaTransport::close() noexcept {
    filled_ = committer_ = nullptr;
    producers_.clear();
}

void KafkaTransport::abandon() noexcept {
    filled_ = committer_ = nullptr;
    for (auto &producer : producers_)
        if (producer->working())
            static_cast<void>(producer.release()); // its thread sits in a call that takes its time
    producers_.clear();
}

Outcome KafkaTransport::commit_record(const std::string &key, const std::string &text,
                                      Timeout timeout) {
    const auto deadline = Clock::now() + timeout;
    Producer &producer = *producers_.front();
    if (!producer.knows(options_.kafka.position_topic)) {
        producer.start_lookup({{options_.kafka.position_topic}, {}},
                              static_cast<int>(timeout.count()));
        if (producer.wait_long(timeout + milliseconds(1000)) != Outcome::ok)
            return away("metadata: no answer");
        const TopicAnswers answers = producer.take_answers();
        if (!answers.away.empty())
            return away(answers.away);
        if (!answers.unusable.empty()) {
            why_ = answers.unusable.front();
            return Outcome::retry;
        }
    }
    if (const auto outcome = producer.begin(); outcome != Outcome::ok)
        return noted(outcome, producer);
    value_ = text;
    if (const auto outcome = produce_position(producer, key, value_); outcome != Outcome::ok)
        return noted(outcome, producer);
    Outcome outcome = producer.flush_long(timeout);
    if (outcome != Outcome::ok)
        return noted(outcome == Outcome::retry ? Outcome::abort : outcome, producer);
    offset_ = producer.position_offset();
    producer.start_commit(kCommitMs);
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    outcome = producer.wait_long(std::max(left, milliseconds(kCommitMs + 1000)));
    // Not known is as bad as failed: the caller takes new producers and asks again.
    return noted(outcome == Outcome::retry ? Outcome::abort : outcome, producer);
}

Outcome KafkaTransport::produce_position(Producer &producer, const std::string &key,
                                         const std::string &text) {
    Outgoing record;
    record.topic = &options_.kafka.position_topic;
    record.key = key;
    record.payload = text;
    record.partition = 0;
    record.number = Producer::kPositionNumber;
    return producer.produce(record, kafka::Headers(rd_kafka_headers_new(0)));
}

void KafkaTransport::note_partitions(const std::string &topic, int count) {
    const int before = partitions_.note(topic, count);
    if (before != 0 && before != count)
        log::warning("partitions_changed",
                     {{"topic", topic},
                      {"before", before},
                      {"now", count},
                      {"hint", "the order of a key does not hold across the change"}});
}

Outcome KafkaTransport::produce_all(Producer &producer, const Batch &batch,
                                    std::int64_t first_counter) {
    Outgoing message;
    std::string topic;
    message.topic = &topic;
    std::int64_t counter = first_counter;
    const std::int64_t now_ms = wall_ms();
    for (std::size_t i = 0; i < batch.events.size(); ++i) {
        const Event &event = batch.events[i];
        if (topic != event.topic)
            topic = event.topic;
        message.key = event.key;
        message.payload = event.payload;
        message.partition = event.partition;
        // Brokers refuse what is an hour ahead of them: a server whose clock is wrong is no reason
        // to put its events aside.
        message.time_ms = std::min(event.time_ms, now_ms);
        message.number = i;
        const Outcome outcome = producer.produce(message, make_headers(event, source_, counter++));
        if (outcome != Outcome::ok)
            return noted(outcome, producer);
        if (i == batch.events.size() / 2)
            crash_point(CrashPoint::after_k_messages);
        if (i % 1024 == 1023)
            producer.poll();
    }
    return Outcome::ok;
}

Outcome KafkaTransport::fill(const Batch &batch, std::int64_t first_counter,
                             const Position &position) {
    Producer &producer = *producers_[turn_];
    turn_ = (turn_ + 1) % ring_size_;
    crash_point(CrashPoint::before_begin);
    if (const Outcome outcome = producer.begin(); outcome != Outcome::ok)
        return noted(outcome, producer);
    in_hand_ = &batch;
    producer.keep(batch.arena);
    if (const Outcome outcome = produce_all(producer, batch, first_counter); outcome != Outcome::ok)
        return refused(batch, outcome);
    crash_point(CrashPoint::before_position);
    value_ = encode(position);
    if (!disabled_by_test(Rule::position_in_transaction))
        if (const Outcome outcome = produce_position(producer, source_, value_);
            outcome != Outcome::ok)
            return noted(outcome, producer);
    crash_point(CrashPoint::after_position);
    filled_ = &producer;
    return Outcome::ok;
}

Outcome KafkaTransport::flush(Timeout timeout) {
    const Outcome outcome = filled_->flush(timeout);
    if (outcome == Outcome::ok)
        offset_ = filled_->position_offset();
    noted(outcome, *filled_);
    return outcome == Outcome::abort ? refused(*in_hand_, outcome) : outcome;
}

void KafkaTransport::commit() {
    crash_point(CrashPoint::before_commit);
    committer_ = std::exchange(filled_, nullptr);
    committer_->start_commit(kCommitMs);
}

// R3: once commit was called only commit is called again.
Outcome KafkaTransport::await_commit(Timeout timeout) {
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
    return noted(outcome, producer);
}

// What everybody would write first, and what doubles: the position in a transaction of its own. For
// the control test alone.
Outcome KafkaTransport::position_by_itself(Producer &producer) {
    Outcome outcome = producer.begin();
    if (outcome == Outcome::ok)
        outcome = produce_position(producer, source_, value_);
    if (outcome == Outcome::ok)
        outcome = producer.flush(milliseconds(kCommitMs));
    if (outcome == Outcome::ok) {
        producer.start_commit(kCommitMs);
        outcome = producer.wait(milliseconds(kCommitMs));
    }
    return noted(outcome == Outcome::retry ? Outcome::abort : outcome, producer);
}

} // namespace once::outbox
