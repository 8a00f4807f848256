// The part of status that asks Kafka.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace once {

struct Options;

// Adds kafka_cluster_id, and to each lane kafka_position or kafka_problem. Throws Refusal (kafka):
// no broker answers.
void add_kafka_positions(const Options &options, nlohmann::ordered_json &whole);

} // namespace once
