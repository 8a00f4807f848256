// Asks brokers about topics: one metadata request for all that are not known, one request for
// their settings. Blocks; runs in a producer's own thread.
#pragma once

#include "relay/kafka/handles.hpp"
#include "relay/outbox/topic_facts.hpp"
#include "relay/outbox/trouble.hpp"

#include <map>
#include <string>
#include <vector>

namespace once::outbox {

struct TopicQuestion {
    std::vector<std::string> topics;   // are they there, with how many partitions
    std::vector<std::string> settings; // what do they take
    bool empty() const { return topics.empty() && settings.empty(); }
};

struct TopicAnswers {
    std::string away;                      // why nobody answered; empty: somebody did
    std::vector<Trouble> unusable;         // of kind topic
    std::map<std::string, int> partitions; // of those that can be written to
    std::map<std::string, TopicFacts> settings;
};

using TopicHandles = std::map<std::string, kafka::Topic>;

// Makes handles of the topics asked about, so that librdkafka knows them before the first message:
// without, that waits a second for its metadata (librdkafka #5032), and one to a topic that is
// missing half a minute. Handles of unusable topics go again.
TopicAnswers ask_topics(rd_kafka_t *client, TopicHandles &handles, const TopicQuestion &question,
                        int timeout_ms);

} // namespace once::outbox
