#include "relay/kafka/admin.hpp"

namespace once::kafka {
namespace {

Owned<rd_kafka_AdminOptions_t> make_options(rd_kafka_t *client, rd_kafka_admin_op_t operation,
                                            int timeout_ms) {
    Owned<rd_kafka_AdminOptions_t> options(rd_kafka_AdminOptions_new(client, operation));
    char reason[256];
    rd_kafka_AdminOptions_set_request_timeout(options.get(), timeout_ms, reason, sizeof reason);
    return options;
}

Owned<rd_kafka_event_t> answer(rd_kafka_queue_t *queue, int timeout_ms, std::string &error) {
    Owned<rd_kafka_event_t> event(rd_kafka_queue_poll(queue, timeout_ms + 1000));
    if (!event)
        error = "no answer";
    else if (rd_kafka_event_error(event.get()) != RD_KAFKA_RESP_ERR_NO_ERROR)
        error = rd_kafka_event_error_string(event.get());
    return event;
}

} // namespace

std::string create_topic(rd_kafka_t *client, const std::string &name, int partitions, int replicas,
                         const Settings &config, int timeout_ms) {
    char reason[256];
    const Owned<rd_kafka_NewTopic_t> topic(
        rd_kafka_NewTopic_new(name.c_str(), partitions, replicas, reason, sizeof reason));
    if (!topic)
        return reason;
    for (const auto &[key, value] : config)
        rd_kafka_NewTopic_set_config(topic.get(), key.c_str(), value.c_str());
    const Owned<rd_kafka_queue_t> queue(rd_kafka_queue_new(client));
    const auto options = make_options(client, RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout_ms);
    rd_kafka_NewTopic_t *list[] = {topic.get()};
    rd_kafka_CreateTopics(client, list, 1, options.get(), queue.get());
    std::string error;
    const auto event = answer(queue.get(), timeout_ms, error);
    if (!error.empty())
        return error;
    size_t count = 0;
    const auto **results = rd_kafka_CreateTopics_result_topics(
        rd_kafka_event_CreateTopics_result(event.get()), &count);
    if (count != 1 || rd_kafka_topic_result_error(results[0]) == RD_KAFKA_RESP_ERR_NO_ERROR)
        return {};
    if (rd_kafka_topic_result_error(results[0]) == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        return "already exists";
    const char *text = rd_kafka_topic_result_error_string(results[0]);
    return text != nullptr ? text : "unknown reason";
}

namespace {

std::map<std::string, std::string> entries_of(const rd_kafka_ConfigResource_t *resource) {
    std::map<std::string, std::string> settings;
    size_t entries = 0;
    const auto **configs = rd_kafka_ConfigResource_configs(resource, &entries);
    for (size_t i = 0; i < entries; ++i)
        if (const char *value = rd_kafka_ConfigEntry_value(configs[i]))
            settings[rd_kafka_ConfigEntry_name(configs[i])] = value;
    return settings;
}

} // namespace

std::map<std::string, TopicSettings> topics_settings(rd_kafka_t *client,
                                                     const std::vector<std::string> &names,
                                                     int timeout_ms, std::string &error) {
    std::vector<Owned<rd_kafka_ConfigResource_t>> resources;
    std::vector<rd_kafka_ConfigResource_t *> list;
    for (const std::string &name : names) {
        resources.emplace_back(rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name.c_str()));
        list.push_back(resources.back().get());
    }
    const Owned<rd_kafka_queue_t> queue(rd_kafka_queue_new(client));
    const auto options = make_options(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout_ms);
    rd_kafka_DescribeConfigs(client, list.data(), list.size(), options.get(), queue.get());
    const auto event = answer(queue.get(), timeout_ms, error);
    std::map<std::string, TopicSettings> all;
    if (!error.empty())
        return all;
    size_t count = 0;
    const auto **answers = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event.get()), &count);
    for (size_t i = 0; i < count; ++i)
        if (rd_kafka_ConfigResource_error(answers[i]) == RD_KAFKA_RESP_ERR_NO_ERROR) {
            all[rd_kafka_ConfigResource_name(answers[i])] = entries_of(answers[i]);
        } else {
            const char *text = rd_kafka_ConfigResource_error_string(answers[i]);
            error = text != nullptr ? text : "unknown reason";
        }
    return all;
}

std::optional<TopicSettings> topic_settings(rd_kafka_t *client, const std::string &name,
                                            int timeout_ms, std::string &error) {
    const auto all = topics_settings(client, {name}, timeout_ms, error);
    if (const auto found = all.find(name); found != all.end())
        return found->second;
    if (error.empty())
        error = "unknown reason";
    return std::nullopt;
}

TopicIds topic_ids(rd_kafka_t *client, const std::vector<std::string> &names, int timeout_ms,
                   std::string &error) {
    if (names.empty() || !knows_topic_ids())
        return {};
    const Owned<rd_kafka_queue_t> queue(rd_kafka_queue_new(client));
    const auto options = make_options(client, kDescribeTopics, timeout_ms);
    describe_topics(client, names, options.get(), queue.get());
    const auto event = answer(queue.get(), timeout_ms, error);
    return error.empty() ? topic_ids_of(event.get()) : TopicIds{};
}

} // namespace once::kafka
