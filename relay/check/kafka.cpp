#include "relay/check/checks.hpp"
#include "relay/check/cluster.hpp"
#include "relay/check/topic.hpp"
#include "relay/kafka/client.hpp"

#include <algorithm>
#include <set>

namespace once::checks {

namespace {

constexpr const char *kArea = "kafka";

std::string quoted(const std::string &name) {
    return "\"" + name + "\"";
}

int number_of(const SettingMap &settings, const char *name, int otherwise) {
    const auto found = settings.find(name);
    return found == settings.end() ? otherwise : std::atoi(found->second.c_str());
}

// The brokers' settings that decide about transactions and topics; of one broker, they are meant to
// be alike.
SettingMap check_brokers(Cluster &cluster, const KafkaOptions &options, Findings &findings) {
    const std::vector<std::int32_t> ids = cluster.brokers();
    std::string error = "no broker is known";
    const auto settings = ids.empty() ? std::nullopt : cluster.broker_settings(ids.front(), error);
    if (!settings) {
        findings.warning(kArea, "the brokers' settings cannot be read: " + error,
                         "allow DESCRIBE_CONFIGS on the cluster, or look at them by hand");
        return {};
    }
    const int longest = number_of(*settings, "transaction.max.timeout.ms", 900'000);
    if (longest < options.transaction_timeout_ms)
        findings.error(ExitCode::kafka, kArea,
                       "the brokers allow transactions of " + std::to_string(longest) +
                           " ms, the relay asks for " +
                           std::to_string(options.transaction_timeout_ms),
                       "raise transaction.max.timeout.ms, or lower outbox.transaction_timeout_ms");
    if (ids.size() > 1 && number_of(*settings, "transaction.state.log.replication.factor", 3) == 1)
        findings.warning(kArea, "the state of transactions has one copy",
                         "set transaction.state.log.replication.factor = 3 before first use");
    return *settings;
}

void check_identity(const Facts &facts, const std::string &cluster_id, Findings &findings) {
    for (const LaneFacts &lane : facts.lanes)
        if (!lane.cluster_id.empty() && lane.cluster_id != cluster_id)
            findings.error(ExitCode::refused, kArea,
                           "lane " + std::to_string(lane.lane) + " keeps its position in cluster " +
                               quoted(lane.cluster_id) + ", this is " + quoted(cluster_id),
                           "give the brokers of that cluster, or decide with once.rearm()");
}

void check_positions(Cluster &cluster, const Options &options, const Facts &facts,
                     std::size_t broker_count, const Principal &principal, Findings &findings) {
    const std::string &name = options.kafka.position_topic;
    const TopicState state = cluster.topic(name);
    if (!state.missing()) {
        check_topic(cluster, {name, state, 0, true, principal}, findings);
        return;
    }
    if (std::any_of(facts.lanes.begin(), facts.lanes.end(),
                    [](const LaneFacts &lane) { return lane.armed; })) {
        findings.error(ExitCode::refused, kArea,
                       "topic " + quoted(name) +
                           " is missing, although the database knows of earlier shipping",
                       "bring it back, or decide with once.rearm() what to ship again");
        return;
    }
    const int replicas = options.kafka.position_replication > 0
                             ? options.kafka.position_replication
                             : static_cast<int>(std::clamp<std::size_t>(broker_count, 1, 3));
    const std::string problem = cluster.try_create(name, 1, replicas);
    if (problem.empty())
        findings.ok(kArea, "topic " + quoted(name) + " does not exist; the relay may create it");
    else
        findings.error(ExitCode::kafka, kArea,
                       "topic " + quoted(name) +
                           " does not exist and cannot be created: " + problem,
                       "create it with 1 partition and cleanup.policy=compact, or allow CREATE");
}

void check_event_topics(Cluster &cluster, const Facts &facts, const SettingMap &broker,
                        const Principal &principal, Findings &findings) {
    const auto automatic = broker.find("auto.create.topics.enable");
    for (const auto &[name, most] : facts.topics) {
        const TopicState state = cluster.topic(name);
        if (state.missing() && automatic != broker.end() && automatic->second == "true") {
            findings.ok(kArea, "topic " + quoted(name) + " does not exist; the brokers create it");
            continue;
        }
        check_topic(cluster, {name, state, most, false, principal}, findings);
        const auto before = facts.partitions.find(name);
        if (before != facts.partitions.end() && state.error == RD_KAFKA_RESP_ERR_NO_ERROR &&
            before->second != state.partitions)
            findings.warning(
                kArea,
                "topic " + quoted(name) + " had " + std::to_string(before->second) +
                    " partitions when the relay last reported, now " +
                    std::to_string(state.partitions) +
                    ": the order of a key does not hold across the change",
                "let consumers finish the old messages before they rely on order again");
    }
    if (facts.topics.empty())
        findings.ok(kArea, "no topic is in use yet");
}

void check_transactions(Cluster &cluster, const Facts &facts, const Principal &principal,
                        Findings &findings) {
    std::set<std::string> incarnations;
    for (const LaneFacts &lane : facts.lanes)
        incarnations.insert("once-" + lane.incarnation);
    if (incarnations.empty())
        incarnations.insert("once");
    // One is enough: rights are given to the prefix.
    const std::string id = *incarnations.begin() + "-check";
    const std::string problem = cluster.try_transactions(id);
    if (problem.empty())
        findings.ok(kArea, "transactions can be begun under the prefix \"once-\"");
    else
        findings.error(ExitCode::kafka, kArea,
                       "could not initialise transactional id " + quoted(id) + ": " + problem,
                       "kafka-acls.sh --add --allow-principal " +
                           (principal.name.empty() ? "User:…" : principal.name) +
                           " --operation Write --transactional-id once- "
                           "--resource-pattern-type prefixed");
}

} // namespace

void check_kafka(const Options &options, const Facts &facts, Findings &findings) {
    Cluster cluster(options.kafka);
    const std::string identity = cluster.identity();
    if (identity.empty()) {
        findings.error(ExitCode::kafka, kArea, kafka::no_answer(options.kafka.brokers),
                       "check the option \"brokers\", the network and kafka.security.protocol");
        return;
    }
    const std::size_t broker_count = cluster.brokers().size();
    findings.ok(kArea, "cluster " + quoted(identity) + ", " + std::to_string(broker_count) +
                           (broker_count == 1 ? " broker" : " brokers") + ", librdkafka " +
                           rd_kafka_version_str());
    const SettingMap broker = check_brokers(cluster, options.kafka, findings);
    check_identity(facts, identity, findings);
    const Principal principal = principal_of(options.kafka, broker);
    check_positions(cluster, options, facts, broker_count, principal, findings);
    check_event_topics(cluster, facts, broker, principal, findings);
    check_transactions(cluster, facts, principal, findings);
}

} // namespace once::checks
