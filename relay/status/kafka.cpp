#include "relay/status/kafka.hpp"

#include "relay/process/exit_code.hpp"
#include "relay/kafka/client.hpp"
#include "relay/options.hpp"
#include "relay/outbox/checkpoint_topic.hpp"

#include <nlohmann/json.hpp>

namespace once {

namespace {

using Json = nlohmann::ordered_json;

void add_position(outbox::CheckpointTopic &log, const Options &options, Json &lane) {
    std::optional<std::int64_t> hint;
    const auto report = lane.find("report");
    if (report != lane.end() && report->is_object() && report->contains("offset_hint") &&
        (*report)["offset_hint"].is_number_integer())
        hint = (*report)["offset_hint"].get<std::int64_t>();
    try {
        const outbox::ReadBack answer = log.last(
            outbox::position_key(lane.at("incarnation").get<std::string>(),
                                 lane.at("lane").get<int>()),
            hint, std::nullopt, std::chrono::milliseconds(options.kafka.request_timeout_ms));
        if (answer.outcome != Outcome::ok)
            lane["kafka_problem"] = "could not be read: " + log.trouble().text;
        else if (!answer.record)
            lane["kafka_problem"] = "there is none";
        else
            lane["kafka_position"] = Json::parse(outbox::encode(answer.record->position));
    } catch (const Refusal &refusal) {
        lane["kafka_problem"] = refusal.what();
    }
}

} // namespace

void add_kafka_positions(const Options &options, Json &whole) {
    outbox::CheckpointTopic log(options.kafka);
    // Asks the cluster's id, and whether the topic is as it has to be; never makes it.
    bool usable = false;
    std::string problem;
    try {
        usable = log.ensure(false) == Outcome::ok;
        problem = log.trouble().text;
    } catch (const Refusal &refusal) {
        problem = refusal.what();
    }
    if (log.cluster_id().empty())
        throw Refusal(ExitCode::kafka, kafka::no_answer(options.kafka.brokers), {},
                      "Check the option \"brokers\" and the network.");
    whole["kafka_cluster_id"] = log.cluster_id();
    for (Json &lane : whole["lanes"])
        if (usable)
            add_position(log, options, lane);
        else
            lane["kafka_problem"] = problem;
}

} // namespace once
