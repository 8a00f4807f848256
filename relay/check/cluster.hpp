// Questions to the brokers, none of which changes anything but the trial of a transactional id (see
// try_transactions).
#pragma once

#include "relay/kafka/handles.hpp"
#include "relay/options.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace once::checks {

using SettingMap = std::map<std::string, std::string>;

struct TopicState {
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
    int partitions = 0;
    int replicas = 0; // of the partition that has the fewest

    bool missing() const { return error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART; }
};

struct Acl {
    std::string principal; // User:name
    rd_kafka_AclOperation_t operation;
    bool allows; // or denies
};

struct AclState {
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
    std::vector<Acl> all; // that match the resource, wildcards and prefixes too
};

struct GroupState {
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
    std::vector<std::string> foreign_clients; // client ids of members that are not ours
};

class Cluster {
  public:
    // Throws Refusal (configuration) for settings librdkafka does not take.
    explicit Cluster(const KafkaOptions &options);

    // Empty: nobody answered.
    std::string identity();
    std::vector<std::int32_t> brokers();
    TopicState topic(const std::string &name);
    // nullopt: not told; `error` says why.
    std::optional<SettingMap> topic_settings(const std::string &name, std::string &error);
    std::optional<SettingMap> broker_settings(std::int32_t broker, std::string &error);
    // What creating it would answer; empty: it would be made.
    std::string try_create(const std::string &name, int partitions, int replicas);
    AclState acls(rd_kafka_ResourceType_t type, const std::string &name);
    GroupState group(const std::string &name);
    // init_transactions under an id of the check's own. Leaves that id with the coordinator until
    // it expires (7 days).
    std::string try_transactions(const std::string &transactional_id);

  private:
    std::optional<SettingMap> describe(rd_kafka_ResourceType_t type, const std::string &name,
                                       std::string &error);

    const KafkaOptions &options_;
    kafka::Client client_;
};

} // namespace once::checks
