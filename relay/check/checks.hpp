// The parts of `once-relay check` and what one part learns for the next.
#pragma once

#include "relay/check/finding.hpp"
#include "relay/options.hpp"
#include "relay/postgres/session.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace once::checks {

using postgres::DatabaseError;
using postgres::Session;

struct LaneFacts {
    int lane = 0;
    std::string incarnation;
    bool armed = false;
    std::string cluster_id; // of the Kafka that holds its position; empty: not armed yet
};

// What the database tells about what will be shipped.
struct Facts {
    std::vector<LaneFacts> lanes;
    std::map<std::string, std::int64_t> topics; // name → largest event that may be published, bytes
    std::map<std::string, int> partitions; // topic → partitions, as the relay reported them last
};

// Server, timeouts, durability, pooler: whoever connects.
void check_server(const Options &options, Findings &findings);
// Of check_server: what stands between us and the server.
void check_pooler(const Options &options, Session &session, Findings &findings);
// Extension, rights and lanes of the outbox.
void check_outbox(const Options &options, Findings &findings, Facts &facts);
// Rights, handlers, topics and groups of each [[inbox]].
void check_inboxes(const Options &options, Findings &findings);
// Cluster, position topic, topics, transactional ids.
void check_kafka(const Options &options, const Facts &facts, Findings &findings);

} // namespace once::checks
