#include "relay/check/cluster.hpp"

#include "relay/kafka/client.hpp"

#include <algorithm>
#include <cstring>

namespace once::checks {

namespace {

using Event = kafka::Owned<rd_kafka_event_t>;
using Queue = kafka::Owned<rd_kafka_queue_t>;
using AdminOptions = kafka::Owned<rd_kafka_AdminOptions_t>;

constexpr const char *kOurClientId = "once-relay";

// A consumer, because a producer's question about a topic may create it.
const kafka::Settings kAsking = {{"allow.auto.create.topics", "false"},
                                 {"enable.auto.commit", "false"}};

AdminOptions admin_options(rd_kafka_t *client, rd_kafka_admin_op_t operation, int timeout_ms) {
    AdminOptions made(rd_kafka_AdminOptions_new(client, operation));
    char problem[256];
    rd_kafka_AdminOptions_set_request_timeout(made.get(), timeout_ms, problem, sizeof problem);
    return made;
}

Event wait_for(rd_kafka_queue_t *queue, int timeout_ms) {
    return Event(rd_kafka_queue_poll(queue, timeout_ms + 1000));
}

rd_kafka_resp_err_t error_of(const Event &event) {
    return event ? rd_kafka_event_error(event.get()) : RD_KAFKA_RESP_ERR__TIMED_OUT;
}

} // namespace

Cluster::Cluster(const KafkaOptions &kafka_options)
    : options_(kafka_options),
      client_(kafka::make_client(kafka::make_conf(kafka_options, kAsking, RD_KAFKA_CONSUMER),
                                 RD_KAFKA_CONSUMER)) {}

std::string Cluster::identity() {
    return kafka::cluster_id(client_.get(), options_.request_timeout_ms);
}

std::vector<std::int32_t> Cluster::brokers() {
    const rd_kafka_metadata_t *raw = nullptr;
    std::vector<std::int32_t> ids;
    // No topic of ours is asked about: all_topics = 0 without a topic gives the locally known ones.
    if (rd_kafka_metadata(client_.get(), 0, nullptr, &raw, options_.request_timeout_ms) !=
        RD_KAFKA_RESP_ERR_NO_ERROR)
        return ids;
    const kafka::Metadata metadata(raw);
    for (int i = 0; i < metadata->broker_cnt; ++i)
        ids.push_back(metadata->brokers[i].id);
    return ids;
}

TopicState Cluster::topic(const std::string &name) {
    const kafka::Topic handle(rd_kafka_topic_new(client_.get(), name.c_str(), nullptr));
    const rd_kafka_metadata_t *raw = nullptr;
    TopicState state;
    state.error =
        rd_kafka_metadata(client_.get(), 0, handle.get(), &raw, options_.request_timeout_ms);
    if (state.error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return state;
    const kafka::Metadata metadata(raw);
    if (metadata->topic_cnt != 1) {
        state.error = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        return state;
    }
    const rd_kafka_metadata_topic &answer = metadata->topics[0];
    state.error = answer.err;
    state.partitions = answer.partition_cnt;
    for (int i = 0; i < answer.partition_cnt; ++i)
        state.replicas = i == 0 ? answer.partitions[i].replica_cnt
                                : std::min(state.replicas, answer.partitions[i].replica_cnt);
    return state;
}

std::optional<SettingMap> Cluster::topic_settings(const std::string &name, std::string &error) {
    return describe(RD_KAFKA_RESOURCE_TOPIC, name, error);
}

std::optional<SettingMap> Cluster::broker_settings(std::int32_t broker, std::string &error) {
    return describe(RD_KAFKA_RESOURCE_BROKER, std::to_string(broker), error);
}

std::optional<SettingMap> Cluster::describe(rd_kafka_ResourceType_t type, const std::string &name,
                                            std::string &error) {
    const kafka::Owned<rd_kafka_ConfigResource_t> resource(
        rd_kafka_ConfigResource_new(type, name.c_str()));
    const Queue queue(rd_kafka_queue_new(client_.get()));
    const AdminOptions admin = admin_options(client_.get(), RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
                                             options_.request_timeout_ms);
    rd_kafka_ConfigResource_t *list[] = {resource.get()};
    rd_kafka_DescribeConfigs(client_.get(), list, 1, admin.get(), queue.get());
    const Event event = wait_for(queue.get(), options_.request_timeout_ms);
    if (error_of(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        error = rd_kafka_err2str(error_of(event));
        return std::nullopt;
    }
    std::size_t count = 0;
    const auto *const *resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event.get()), &count);
    if (count != 1 || rd_kafka_ConfigResource_error(resources[0]) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        error = count == 1 ? rd_kafka_err2str(rd_kafka_ConfigResource_error(resources[0]))
                           : "no answer";
        return std::nullopt;
    }
    SettingMap settings;
    std::size_t entries = 0;
    const auto *const *configs = rd_kafka_ConfigResource_configs(resources[0], &entries);
    for (std::size_t i = 0; i < entries; ++i)
        if (const char *value = rd_kafka_ConfigEntry_value(configs[i]))
            settings[rd_kafka_ConfigEntry_name(configs[i])] = value;
    return settings;
}

std::string Cluster::try_create(const std::string &name, int partitions, int replicas) {
    char problem[256];
    const kafka::Owned<rd_kafka_NewTopic_t> wanted(
        rd_kafka_NewTopic_new(name.c_str(), partitions, replicas, problem, sizeof problem));
    if (!wanted)
        return problem;
    const Queue queue(rd_kafka_queue_new(client_.get()));
    const AdminOptions admin =
        admin_options(client_.get(), RD_KAFKA_ADMIN_OP_CREATETOPICS, options_.request_timeout_ms);
    rd_kafka_AdminOptions_set_validate_only(admin.get(), 1, problem, sizeof problem);
    rd_kafka_NewTopic_t *list[] = {wanted.get()};
    rd_kafka_CreateTopics(client_.get(), list, 1, admin.get(), queue.get());
    const Event event = wait_for(queue.get(), options_.request_timeout_ms);
    if (error_of(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return rd_kafka_err2str(error_of(event));
    std::size_t count = 0;
    const auto *const *results = rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result(event.get()), &count);
    if (count != 1)
        return "no answer";
    const rd_kafka_resp_err_t error = rd_kafka_topic_result_error(results[0]);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ? std::string() : rd_kafka_err2str(error);
}

AclState Cluster::acls(rd_kafka_ResourceType_t type, const std::string &name) {
    AclState state;
    char problem[256];
    const kafka::Owned<rd_kafka_AclBinding_t> filter(rd_kafka_AclBindingFilter_new(
        type, name.c_str(), RD_KAFKA_RESOURCE_PATTERN_MATCH, nullptr, nullptr,
        RD_KAFKA_ACL_OPERATION_ANY, RD_KAFKA_ACL_PERMISSION_TYPE_ANY, problem, sizeof problem));
    const Queue queue(rd_kafka_queue_new(client_.get()));
    const AdminOptions admin =
        admin_options(client_.get(), RD_KAFKA_ADMIN_OP_DESCRIBEACLS, options_.request_timeout_ms);
    rd_kafka_DescribeAcls(client_.get(), filter.get(), admin.get(), queue.get());
    const Event event = wait_for(queue.get(), options_.request_timeout_ms);
    state.error = error_of(event);
    if (state.error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return state;
    std::size_t count = 0;
    const auto *const *bindings =
        rd_kafka_DescribeAcls_result_acls(rd_kafka_event_DescribeAcls_result(event.get()), &count);
    for (std::size_t i = 0; i < count; ++i)
        state.all.push_back({rd_kafka_AclBinding_principal(bindings[i]),
                             rd_kafka_AclBinding_operation(bindings[i]),
                             rd_kafka_AclBinding_permission_type(bindings[i]) ==
                                 RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW});
    return state;
}

GroupState Cluster::group(const std::string &name) {
    GroupState state;
    const Queue queue(rd_kafka_queue_new(client_.get()));
    const AdminOptions admin = admin_options(
        client_.get(), RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, options_.request_timeout_ms);
    const char *list[] = {name.c_str()};
    rd_kafka_DescribeConsumerGroups(client_.get(), list, 1, admin.get(), queue.get());
    const Event event = wait_for(queue.get(), options_.request_timeout_ms);
    state.error = error_of(event);
    if (state.error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return state;
    std::size_t count = 0;
    const auto *const *groups = rd_kafka_DescribeConsumerGroups_result_groups(
        rd_kafka_event_DescribeConsumerGroups_result(event.get()), &count);
    if (count != 1)
        return state;
    if (const rd_kafka_error_t *error = rd_kafka_ConsumerGroupDescription_error(groups[0]))
        state.error = rd_kafka_error_code(error);
    for (std::size_t i = 0; i < rd_kafka_ConsumerGroupDescription_member_count(groups[0]); ++i) {
        const char *id = rd_kafka_MemberDescription_client_id(
            rd_kafka_ConsumerGroupDescription_member(groups[0], i));
        if (std::strncmp(id, kOurClientId, std::strlen(kOurClientId)) != 0)
            state.foreign_clients.emplace_back(id);
    }
    return state;
}

std::string Cluster::try_transactions(const std::string &transactional_id) {
    const kafka::Settings settings = {
        {"transactional.id", transactional_id},
        {"transaction.timeout.ms", std::to_string(options_.transaction_timeout_ms)}};
    const kafka::Client producer(kafka::make_client(
        kafka::make_conf(options_, settings, RD_KAFKA_PRODUCER), RD_KAFKA_PRODUCER));
    const kafka::Error error(
        rd_kafka_init_transactions(producer.get(), options_.request_timeout_ms));
    return error ? rd_kafka_error_string(error.get()) : std::string();
}

} // namespace once::checks
