#include "relay/outbox/topic_lookup.hpp"

#include "relay/kafka/admin.hpp"
#include "relay/kafka/classify.hpp"
#include "relay/process/log.hpp"
#include "relay/process/whole_number.hpp"

#include <string_view>

namespace once::outbox {
namespace {

Trouble why_unusable(const rd_kafka_metadata_topic_t *answer, const std::string &name) {
    Trouble trouble;
    trouble.topic = name;
    const auto code = answer != nullptr && answer->err != RD_KAFKA_RESP_ERR_NO_ERROR
                          ? answer->err
                          : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    trouble.text = rd_kafka_err2str(code);
    trouble.forbidden = kafka::forbidden(code);
    if (kafka::undelivered(code) == kafka::Undelivered::topic)
        trouble.kind = Trouble::Kind::topic;
    return trouble;
}

// A new handle asks for its topic by a request of its own, five at a time on the way, unless the
// client knows the topic already. This is the one call that asks for a list of names at once; what
// it asks for besides, an offset of each topic, is thrown away.
void make_known(rd_kafka_t *client, const std::vector<std::string> &names, int timeout_ms) {
    constexpr std::size_t kFew = 5;
    if (names.size() <= kFew)
        return;
    const kafka::Partitions list(rd_kafka_topic_partition_list_new(static_cast<int>(names.size())));
    for (const std::string &name : names)
        rd_kafka_topic_partition_list_add(list.get(), name.c_str(), 0)->offset =
            RD_KAFKA_OFFSET_END;
    static_cast<void>(rd_kafka_offsets_for_times(client, list.get(), timeout_ms));
}

void ask_metadata(rd_kafka_t *client, TopicHandles &handles, const TopicQuestion &question,
                  int timeout_ms, TopicAnswers &answers) {
    make_known(client, question.topics, timeout_ms);
    for (const std::string &name : question.topics)
        if (handles.find(name) == handles.end())
            handles.emplace(name, kafka::Topic(rd_kafka_topic_new(client, name.c_str(), nullptr)));
    // All topics this client has a handle of.
    const rd_kafka_metadata_t *raw = nullptr;
    const auto error = rd_kafka_metadata(client, 0, nullptr, &raw, timeout_ms);
    const kafka::Metadata metadata(raw);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        answers.away = std::string("metadata: ") + rd_kafka_err2str(error);
        return;
    }
    std::map<std::string_view, const rd_kafka_metadata_topic_t *> told;
    for (int i = 0; i < metadata->topic_cnt; ++i)
        told.emplace(metadata->topics[i].topic, &metadata->topics[i]);
    for (const std::string &name : question.topics) {
        const auto found = told.find(name);
        const auto *answer = found == told.end() ? nullptr : found->second;
        if (answer != nullptr && answer->err == RD_KAFKA_RESP_ERR_NO_ERROR &&
            answer->partition_cnt > 0)
            answers.partitions[name] = answer->partition_cnt;
        else
            answers.unusable.push_back(why_unusable(answer, name));
    }
}

void ask_settings(rd_kafka_t *client, const std::vector<std::string> &names, int timeout_ms,
                  TopicAnswers &answers) {
    std::string error;
    const auto all = kafka::topics_settings(client, names, timeout_ms, error);
    for (const std::string &name : names)
        answers.settings[name] = {}; // asked, and perhaps not told
    if (!error.empty())
        log::debug("topic_settings_not_known", {{"reason", error}});
    for (const auto &[name, settings] : all) {
        TopicFacts &facts = answers.settings[name];
        if (const auto it = settings.find("max.message.bytes"); it != settings.end())
            facts.max_message_bytes = whole_number<std::int64_t>(it->second);
        if (const auto it = settings.find("cleanup.policy"); it != settings.end())
            facts.compacted = it->second.find("compact") != std::string::npos;
    }
}

} // namespace

TopicAnswers ask_topics(rd_kafka_t *client, TopicHandles &handles, const TopicQuestion &question,
                        int timeout_ms) {
    TopicAnswers answers;
    if (!question.topics.empty())
        ask_metadata(client, handles, question, timeout_ms, answers);
    for (const Trouble &trouble : answers.unusable)
        handles.erase(trouble.topic);
    if (!answers.away.empty()) {
        for (const std::string &name : question.topics)
            handles.erase(name);
        return answers;
    }
    std::vector<std::string> names;
    for (const std::string &name : question.settings)
        if (handles.count(name) != 0)
            names.push_back(name);
    if (!names.empty())
        ask_settings(client, names, timeout_ms, answers);
    return answers;
}

} // namespace once::outbox
