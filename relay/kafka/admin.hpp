// The admin requests the relay makes.
#pragma once

#include "relay/kafka/client.hpp"
#include "relay/kafka/compat.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace once::kafka {

// Empty when it was made, else the broker's reason.
std::string create_topic(rd_kafka_t *client, const std::string &name, int partitions, int replicas,
                         const Settings &config, int timeout_ms);

// Every setting of a topic; nothing and a reason when it could not be asked.
std::optional<std::map<std::string, std::string>>
topic_settings(rd_kafka_t *client, const std::string &name, int timeout_ms, std::string &error);

// Those that the brokers tell; none with a librdkafka that cannot ask. A reason when it could not
// be asked.
TopicIds topic_ids(rd_kafka_t *client, const std::vector<std::string> &names, int timeout_ms,
                   std::string &error);

} // namespace once::kafka
