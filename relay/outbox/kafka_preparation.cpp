// What the transport knows of a batch before it is sent, and what it learns from a refusal: topics
// that are not known, events that are refused for certain, requests that are too large.
#include "relay/outbox/kafka_transport.hpp"

#include "relay/process/log.hpp"

#include <algorithm>

namespace once::outbox {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kLookup{5000};
// What brokers said of a topic's settings is asked again before an event is given up for it.
constexpr milliseconds kFresh{2000};
// So long an explanation is believed: a refusal that it does not explain is searched for.
constexpr std::chrono::seconds kExplained{60};
// Below this a batch size is a matter of single events, which the search for a refused one finds.
constexpr int kLeastBatchSize = 4096;

template <typename See> void for_each_topic(const Batch &batch, See see) {
    std::string_view recent;
    for (const Event &event : batch.events)
        if (event.topic != recent) {
            recent = event.topic;
            see(std::string(recent));
        }
}

void add_once(std::vector<std::string> &names, const std::string &name) {
    if (std::find(names.begin(), names.end(), name) == names.end())
        names.push_back(name);
}

} // namespace

TopicQuestion KafkaTransport::unknown_of(const Batch &batch, const Producer &producer) const {
    TopicQuestion question;
    std::map<std::string, bool> asked;
    const auto add = [&](const std::string &name) {
        if (!producer.knows(name) && asked.emplace(name, true).second)
            question.topics.push_back(name);
    };
    add(options_.kafka.position_topic);
    for_each_topic(batch, add);
    for (const std::string &name : question.topics)
        if (name != options_.kafka.position_topic && facts_.find(name) == facts_.end())
            question.settings.push_back(name);
    return question;
}

void KafkaTransport::learn(const TopicAnswers &answers) {
    const auto now = Clock::now();
    for (const auto &[name, facts] : answers.settings) {
        const int partitions = facts_[name].partitions;
        facts_[name] = facts;
        facts_[name].partitions = partitions;
        asked_[name] = now;
    }
    for (const auto &[name, count] : answers.partitions) {
        if (name == options_.kafka.position_topic)
            continue;
        facts_[name].partitions = count;
        note_partitions(name, count);
    }
}

// `doubtful`: topics of which an event would be given up for what is not fresh.
Preparation KafkaTransport::judge(const Batch &batch, TopicQuestion &doubtful) const {
    Preparation found;
    const auto now = Clock::now();
    std::string_view recent;
    const TopicFacts *facts = nullptr;
    bool fresh = false;
    for (std::size_t i = 0; i < batch.events.size(); ++i) {
        const Event &event = batch.events[i];
        if (event.topic != recent) {
            recent = event.topic;
            const auto it = facts_.find(recent);
            facts = it == facts_.end() ? nullptr : &it->second;
            const auto when = asked_.find(recent);
            fresh = when != asked_.end() && now - when->second < kFresh;
        }
        // Otherwise any publisher could write position records with the relay's credentials, even
        // for other databases that share the topic.
        if (recent == options_.kafka.position_topic) {
            found.culprits.push_back(
                {i, "topic \"" + options_.kafka.position_topic + "\" is for positions alone"});
            continue;
        }
        auto reason = facts == nullptr ? std::nullopt : certain_refusal(event, *facts, compressed_);
        if (!reason)
            continue;
        if (!fresh) {
            add_once(doubtful.settings, std::string(recent));
            if (event.partition >= 0)
                add_once(doubtful.topics, std::string(recent));
        }
        found.culprits.push_back({i, std::move(*reason)});
    }
    return found;
}

Preparation KafkaTransport::prepare(const Batch &batch, Timeout timeout) {
    Producer &producer = *producers_[turn_];
    Preparation found;
    if (!producer.working())
        if (const TopicQuestion question = unknown_of(batch, producer); !question.empty())
            producer.start_lookup(question, static_cast<int>(kLookup.count()));
    if (producer.working()) {
        if (producer.wait(timeout) == Outcome::retry) {
            found.kind = Preparation::Kind::pending;
            return found;
        }
        TopicAnswers answers = producer.take_answers();
        learn(answers);
        if (!answers.away.empty() || !answers.unusable.empty()) {
            const bool away = !answers.away.empty();
            found.kind = away ? Preparation::Kind::away : Preparation::Kind::topics;
            found.text = answers.away;
            found.unusable = std::move(answers.unusable);
            return found;
        }
    }
    TopicQuestion doubtful;
    found = judge(batch, doubtful);
    if (!doubtful.empty()) {
        producer.start_lookup(doubtful, static_cast<int>(kLookup.count()));
        found = {};
        found.kind = Preparation::Kind::pending;
        return found;
    }
    for_each_topic(batch, [&](const std::string &name) {
        const auto it = facts_.find(name);
        if (it != facts_.end() && it->second.max_message_bytes &&
            lower_batch_size(batch_size_for(*it->second.max_message_bytes), name))
            found.kind = Preparation::Kind::batches;
    });
    return found;
}

// True: it was larger, and the producers have to be made anew.
bool KafkaTransport::lower_batch_size(int size, const std::string &topic) {
    if (size >= batch_size_)
        return false;
    log::info("batch_size_lowered",
              {{"lane", lane_}, {"topic", topic}, {"from", batch_size_}, {"to", size}});
    batch_size_ = size;
    return true;
}

// What a refusal of the brokers tells beyond its words. One that names no culprit is explained by
// what the topic takes now, where that can be asked; only then somebody has to search.
Outcome KafkaTransport::refused(const Batch &batch, Outcome outcome) {
    if (why_.kind != Trouble::Kind::message || !why_.culprits.empty())
        return outcome;
    const auto now = Clock::now();
    auto &explained = explained_[why_.topic];
    const auto facts = facts_.find(why_.topic);
    const bool told = facts != facts_.end() && facts->second.settings_known();
    if (told && now - explained > kExplained) {
        explained = now;
        facts_.erase(facts); // asked again by the new producers
        why_.kind = Trouble::Kind::batches;
        return outcome;
    }
    if (!why_.for_size || told)
        return outcome;
    // Nobody may say what it takes: smaller requests, as long as more than one event fits.
    std::size_t largest = 0;
    for (const Event &event : batch.events)
        if (event.topic == why_.topic)
            largest = std::max(largest, least_size(event) + event.headers.size());
    const int next = std::max(batch_size_ / 2, kLeastBatchSize);
    if (static_cast<std::size_t>(batch_size_) > 2 * largest && lower_batch_size(next, why_.topic))
        why_.kind = Trouble::Kind::batches;
    return outcome;
}

} // namespace once::outbox
