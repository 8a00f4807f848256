// Makes librdkafka clients: the settings every client of the relay shares, then those of its role,
// then what the operator passes through.
#pragma once

#include "relay/kafka/handles.hpp"

#include <string>
#include <utility>
#include <vector>

namespace once {
struct KafkaOptions;
}

namespace once::kafka {

using Settings = std::vector<std::pair<std::string, std::string>>;

// Throws Refusal(configuration) naming the setting librdkafka does not take. A passed-through
// setting that only the other kind of client knows is left out.
Conf make_conf(const KafkaOptions &options, const Settings &role, rd_kafka_type_t type);
// Takes the configuration.
Client make_client(Conf conf, rd_kafka_type_t type);

// Destroys it, but does not wait for ever: librdkafka 2.0.2 never ends a client that was told that
// a topic it has read is not its to see (2.16 does). Such a one is left behind, with what its
// threads use (`kept`).
void destroy_or_leave(Client client, std::shared_ptr<void> kept = nullptr) noexcept;

// The cluster's id; empty when no broker answered in time.
std::string cluster_id(rd_kafka_t *client, int timeout_ms);

// What every client does with a line of librdkafka's log.
void log_line(const rd_kafka_t *client, int level, const char *facility, const char *text) noexcept;

// ": " and why the last connection of any client failed: a port, a certificate, a password (which
// it does not name). Empty when none did.
std::string because();
std::string no_answer(const std::string &brokers);

} // namespace once::kafka
