#include "relay/outbox/kafka_checkpoint.hpp"

#include "extension/wire/message_headers.hpp"
#include "relay/process/crash_point.hpp"
#include "relay/process/whole_number.hpp"

#include <nlohmann/json.hpp>

#include <unistd.h>

namespace once::outbox {
namespace {

using std::chrono::milliseconds;

// Silence of a broker while records are read. Another relay's open transaction hides the end for
// up to its timeout and the coordinator's scan.
constexpr milliseconds kReadSilence{40000};

std::string_view header(rd_kafka_headers_t *headers, std::string_view name) {
    const void *text = nullptr;
    size_t size = 0;
    if (headers == nullptr || // the names are literals, which end in a zero
        rd_kafka_header_get_last(headers, name.data(), &text, &size) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return {};
    return {static_cast<const char *>(text), size};
}

} // namespace

KafkaCheckpoint::KafkaCheckpoint(const Options &options, int lane, KafkaTransport &transport,
                                 kafka::Pulse pulse)
    : lane_(lane), transport_(transport), topic_(options.kafka, std::move(pulse)) {}

Outcome KafkaCheckpoint::reach(bool may_create) {
    const Outcome outcome = topic_.ensure(may_create);
    why_ = topic_.trouble();
    return outcome;
}

ReadBack KafkaCheckpoint::peek(const std::string &incarnation, std::optional<std::int64_t> hint) {
    auto answer = topic_.last(position_key(incarnation, lane_), hint, std::nullopt, kReadSilence);
    why_ = topic_.trouble();
    return answer;
}

// The offset in our own delivery report is a log end that a deposed leader cannot have reported.
ReadBack KafkaCheckpoint::read_back(std::optional<std::int64_t> hint, Timeout timeout) {
    const std::string value = nlohmann::json{
        {"format", kPositionFormat},
        {"pid", ::getpid()},
        {"version", ONCE_VERSION}}.dump();
    const Outcome outcome =
        transport_.commit_record(transport_.source() + "/start", value, timeout);
    if (outcome != Outcome::ok) {
        why_ = transport_.trouble();
        return {outcome, std::nullopt};
    }
    crash_point(CrashPoint::after_start_record);
    auto answer = topic_.last(transport_.source(), hint, transport_.record_offset(), kReadSilence);
    if (answer.outcome != Outcome::ok)
        why_ = topic_.trouble();
    return answer;
}

Outcome KafkaCheckpoint::scan(const std::vector<std::string> &topics, const std::string &wanted,
                              std::int64_t since_ms, const Seen &seen) {
    for (const std::string &topic : topics) {
        const auto look = [&](const rd_kafka_message_t &message) {
            rd_kafka_headers_t *headers = nullptr;
            rd_kafka_message_headers(&message, &headers);
            const auto written_to = header(headers, wire::kTopicHeader);
            if (!written_to.empty() && written_to != topic)
                return; // a copy that somebody made
            if (!header(headers, wire::kSourceHeader).starts_with(wanted))
                return;
            if (const auto id = uuid_from_text(header(headers, wire::kIdHeader)))
                seen(
                    *id,
                    whole_number<std::int64_t>(header(headers, wire::kPositionHeader)).value_or(0));
        };
        if (const Outcome outcome = topic_.scan(topic, since_ms, kReadSilence, look);
            outcome != Outcome::ok) {
            why_ = topic_.trouble();
            return outcome;
        }
    }
    return Outcome::ok;
}

} // namespace once::outbox
