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

using TopicSettings = std::map<std::string, std::string>;

// Every setting of a topic; nothing and a reason when it could not be asked.
std::optional<TopicSettings> topic_settings(rd_kafka_t *client, const std::string &name,
                                            int timeout_ms, std::string &error);
// The same of many topics in one request; those it could not be asked of are left out, with the
// reason of the last.
std::map<std::string, TopicSettings> topics_settings(rd_kafka_t *client,
                                                     const std::vector<std::string> &names,
                                                     int timeout_ms, std::string &error);

// Those that the brokers tell; none with a librdkafka that cannot ask. A reason when it could not
// be asked.
TopicIds topic_ids(rd_kafka_t *client, const std::vector<std::string> &names, int timeout_ms,
                   std::string &error);

} // namespace once::kafka
