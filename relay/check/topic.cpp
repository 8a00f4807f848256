#include "relay/check/topic.hpp"

#include <cstdlib>

namespace once::checks {

namespace {

constexpr const char *kArea = "kafka";
// Batch and record headers and our three headers on top of an event.
constexpr std::int64_t kOverheadBytes = 512;

std::string alter(const std::string &name, const std::string &setting) {
    return "kafka-configs.sh --alter --entity-type topics --entity-name " + name +
           " --add-config " + setting;
}

std::string value_of(const SettingMap &settings, const char *name) {
    const auto found = settings.find(name);
    return found == settings.end() ? std::string() : found->second;
}

void judge_cleanup(const TopicUnderCheck &topic, const SettingMap &settings, Findings &findings) {
    const std::string policy = value_of(settings, "cleanup.policy");
    if (topic.positions && !policy.empty() && policy != "compact")
        findings.error(ExitCode::refused, kArea,
                       "topic \"" + topic.name + "\" has cleanup.policy = " + policy +
                           ": the place of an idle lane would be deleted",
                       alter(topic.name, "cleanup.policy=compact"));
    if (!topic.positions && policy.find("compact") != std::string::npos)
        findings.warning(
            kArea, "topic \"" + topic.name + "\" is compacted: brokers refuse events without a key",
            "publish with a key there; older events of a key are removed");
}

void judge_copies(const TopicUnderCheck &topic, const SettingMap &settings, Findings &findings) {
    const std::string name = "topic \"" + topic.name + "\"";
    const int least = std::atoi(value_of(settings, "min.insync.replicas").c_str());
    const int replicas = topic.state.replicas;
    if (value_of(settings, "unclean.leader.election.enable") == "true")
        findings.error(
            ExitCode::kafka, kArea,
            name + " has unclean.leader.election.enable = true: acknowledged events can be lost",
            alter(topic.name, "unclean.leader.election.enable=false"));
    if (replicas == 1)
        findings.warning(kArea, name + " has one copy: a lost disk loses it",
                         "use a replication factor of 3 with min.insync.replicas = 2");
    else if (least > replicas)
        findings.error(ExitCode::kafka, kArea,
                       name + " has min.insync.replicas = " + std::to_string(least) + " and " +
                           std::to_string(replicas) + " replicas: nothing can be written",
                       alter(topic.name, "min.insync.replicas=" + std::to_string(replicas - 1)));
    else if (least == replicas)
        findings.warning(kArea,
                         name + " has min.insync.replicas = its " + std::to_string(replicas) +
                             " replicas: it stops when one broker is away",
                         alter(topic.name, "min.insync.replicas=" + std::to_string(replicas - 1)));
    else if (least == 1)
        findings.warning(
            kArea,
            name + " has min.insync.replicas = 1: what one broker acknowledged alone can be lost",
            alter(topic.name, "min.insync.replicas=2"));
}

void judge_size(const TopicUnderCheck &topic, const SettingMap &settings, Findings &findings) {
    const std::string most = value_of(settings, "max.message.bytes");
    if (topic.largest_event == 0 || most.empty() ||
        std::atoll(most.c_str()) >= topic.largest_event + kOverheadBytes)
        return;
    findings.warning(kArea,
                     "topic \"" + topic.name + "\" takes messages up to max.message.bytes = " +
                         most + ", once.publish events up to " +
                         std::to_string(topic.largest_event) + ": those between are parked",
                     alter(topic.name, "max.message.bytes=" +
                                           std::to_string(topic.largest_event + kOverheadBytes)) +
                         ", or lower the limit by once.topic_set");
}

} // namespace

void judge_topic(const TopicUnderCheck &topic, const SettingMap &settings, Findings &findings) {
    if (topic.positions && topic.state.partitions != 1)
        findings.error(ExitCode::refused, kArea,
                       "topic \"" + topic.name + "\" has " +
                           std::to_string(topic.state.partitions) +
                           " partitions: the order of positions is not known",
                       "use a position topic with one partition");
    judge_cleanup(topic, settings, findings);
    judge_copies(topic, settings, findings);
    judge_size(topic, settings, findings);
}

void check_topic(Cluster &cluster, const TopicUnderCheck &topic, Findings &findings) {
    const std::string name = "topic \"" + topic.name + "\"";
    if (topic.state.missing()) {
        findings.error(ExitCode::kafka, kArea,
                       name + " does not exist, and the brokers do not create it",
                       "kafka-topics.sh --create --topic " + topic.name + " --partitions N");
        return;
    }
    const Right write{RD_KAFKA_RESOURCE_TOPIC, topic.name, RD_KAFKA_ACL_OPERATION_WRITE};
    const Right read{RD_KAFKA_RESOURCE_TOPIC, topic.name, RD_KAFKA_ACL_OPERATION_READ};
    if (topic.state.error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        const bool forbidden = topic.state.error == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        findings.error(ExitCode::kafka, kArea, name + ": " + rd_kafka_err2str(topic.state.error),
                       !forbidden        ? "see the brokers' logs"
                       : topic.positions ? acl_fix(topic.principal, write) + "; the same with Read"
                                         : acl_fix(topic.principal, write));
        return;
    }
    const std::size_t before = findings.all().size();
    std::string error;
    if (const auto settings = cluster.topic_settings(topic.name, error))
        judge_topic(topic, *settings, findings);
    else
        findings.warning(kArea, "the settings of " + name + " cannot be read: " + error,
                         "allow DESCRIBE_CONFIGS on it, or look at them by hand");
    check_right(cluster, topic.principal, write, findings);
    if (topic.positions)
        check_right(cluster, topic.principal, read, findings);
    if (findings.all().size() == before)
        findings.ok(kArea, name + ", " + std::to_string(topic.state.partitions) + " partitions, " +
                               std::to_string(topic.state.replicas) + " replicas");
}

} // namespace once::checks
