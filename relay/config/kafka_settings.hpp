// Settings that go through to librdkafka: which names there are, which values would break
// exactness, which are secret.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace once::config {

// Every property name this librdkafka documents.
const std::vector<std::string> &kafka_property_names();

// Throws Refusal (configuration): unknown name, value librdkafka does not take, or one that breaks
// exactness.
void check_kafka_setting(std::string_view name, std::string_view value, std::string_view origin);

bool is_secret_kafka_setting(std::string_view name);

} // namespace once::config
