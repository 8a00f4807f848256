// What differs between versions of librdkafka, and nowhere else: topic ids, since 2.3, and how long
// a consumer sleeps. The functions are referred to weakly: a program that was built with newer
// headers than the library it meets starts and goes without.
#pragma once

#include "relay/kafka/handles.hpp"

#include <map>
#include <string>
#include <vector>

#if RD_KAFKA_VERSION >= 0x020300ff
#pragma weak rd_kafka_TopicCollection_of_topic_names
#pragma weak rd_kafka_TopicCollection_destroy
#pragma weak rd_kafka_DescribeTopics
#pragma weak rd_kafka_event_DescribeTopics_result
#pragma weak rd_kafka_DescribeTopics_result_topics
#pragma weak rd_kafka_TopicDescription_name
#pragma weak rd_kafka_TopicDescription_error
#pragma weak rd_kafka_TopicDescription_topic_id
#pragma weak rd_kafka_Uuid_most_significant_bits
#pragma weak rd_kafka_Uuid_least_significant_bits
#pragma weak rd_kafka_Uuid_base64str
#endif

namespace once::kafka {

// A consumer that has fetched enough looks again after a second; since 2.2 after
// fetch.queue.backoff.ms (#2879).
inline bool fetcher_sleeps_a_second() {
    constexpr int kMended = 0x020200ff;
    return rd_kafka_version() < kMended;
}

// A message in a request with one that is refused, itself not at fault; told by newer versions.
inline bool different_record(rd_kafka_resp_err_t code) {
    return static_cast<int>(code) == -138;
}

// Topic name → the id that Kafka gave the topic, in Kafka's own spelling (base64); empty: it gave
// none.
using TopicIds = std::map<std::string, std::string>;

#if RD_KAFKA_VERSION >= 0x020300ff

inline bool knows_topic_ids() {
    constexpr int kFirst = 0x020300ff;
    return rd_kafka_version() >= kFirst && rd_kafka_DescribeTopics != nullptr;
}

constexpr rd_kafka_admin_op_t kDescribeTopics = RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;

inline void describe_topics(rd_kafka_t *client, const std::vector<std::string> &names,
                            const rd_kafka_AdminOptions_t *options, rd_kafka_queue_t *queue) {
    std::vector<const char *> list;
    for (const std::string &name : names)
        list.push_back(name.c_str());
    rd_kafka_TopicCollection_t *topics =
        rd_kafka_TopicCollection_of_topic_names(list.data(), list.size());
    rd_kafka_DescribeTopics(client, topics, options, queue);
    rd_kafka_TopicCollection_destroy(topics);
}

// Without topics that are not there. Brokers before 2.8 answer with an id of zeros: it is empty
// here.
inline TopicIds topic_ids_of(rd_kafka_event_t *event) {
    TopicIds ids;
    size_t count = 0;
    const auto **topics =
        rd_kafka_DescribeTopics_result_topics(rd_kafka_event_DescribeTopics_result(event), &count);
    for (size_t i = 0; i < count; ++i) {
        const rd_kafka_error_t *error = rd_kafka_TopicDescription_error(topics[i]);
        if (rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR_NO_ERROR)
            continue;
        const rd_kafka_Uuid_t *id = rd_kafka_TopicDescription_topic_id(topics[i]);
        const bool given = id != nullptr && (rd_kafka_Uuid_most_significant_bits(id) != 0 ||
                                             rd_kafka_Uuid_least_significant_bits(id) != 0);
        ids[rd_kafka_TopicDescription_name(topics[i])] = given ? rd_kafka_Uuid_base64str(id) : "";
    }
    return ids;
}

#else

inline bool knows_topic_ids() {
    return false;
}

constexpr rd_kafka_admin_op_t kDescribeTopics = RD_KAFKA_ADMIN_OP_ANY;

inline void describe_topics(rd_kafka_t *, const std::vector<std::string> &,
                            const rd_kafka_AdminOptions_t *, rd_kafka_queue_t *) {}

inline TopicIds topic_ids_of(rd_kafka_event_t *) {
    return {};
}

#endif

} // namespace once::kafka
