// A Kafka group and a receiving database in memory, behind the interfaces that a member sees. The
// fake database keeps effects and offsets as one transaction does, and can be told to fail.
#pragma once

#include "relay/inbox/member.hpp"

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace once::inbox::fake {

struct Sent {
    std::string value;
    std::optional<std::string> key;
};

// One topic "t" whose partitions are lists of messages; what a producer's transaction left behind
// the last message (markers) has an offset too.
class Kafka {
  public:
    std::map<std::int32_t, std::deque<Sent>> log;
    std::map<std::int32_t, std::int64_t> markers; // behind the last message
    std::map<TopicPartition, Committed, TopicPartitionOrder> committed;
    std::int64_t answered_ms = 0;
    std::deque<Polled> events; // given out before messages

    std::int64_t end(std::int32_t partition) const {
        const auto found = markers.find(partition);
        return static_cast<std::int64_t>(log.at(partition).size()) +
               (found == markers.end() ? 0 : found->second);
    }
    void send(std::int32_t partition, std::string value, std::optional<std::string> key = {}) {
        log[partition].push_back({std::move(value), std::move(key)});
    }
};

class Group : public GroupConsumer {
  public:
    explicit Group(Kafka &kafka) : kafka_(kafka) {}

    void subscribe() override {
        Polled polled;
        polled.kind = Polled::Kind::assigned;
        for (const auto &[partition, messages] : kafka_.log)
            polled.places.push_back({"t", partition});
        kafka_.events.push_back(polled);
    }
    Polled poll(int) override {
        if (!kafka_.events.empty()) {
            Polled event = std::move(kafka_.events.front());
            kafka_.events.pop_front();
            return event;
        }
        kafka_.answered_ms = now_ms();
        for (auto &[place, at] : at_) {
            if (paused_.contains(place))
                continue;
            const auto &messages = kafka_.log[place.partition];
            if (at < static_cast<std::int64_t>(messages.size()))
                return message(place, at++);
            if (at <= kafka_.end(place.partition) && told_[place] != kafka_.end(place.partition)) {
                at = told_[place] = kafka_.end(place.partition);
                Polled polled;
                polled.kind = Polled::Kind::end;
                polled.place = place;
                polled.offset = at;
                return polled;
            }
        }
        return {};
    }
    std::optional<Message> message_at_hand() override { return std::nullopt; }
    void assign(const Offsets &changed, const Offsets &all) override {
        ++assigns;
        for (const auto &[place, offset] : changed) {
            at_[place] = offset;
            told_[place] = -1;
        }
        for (const auto &[place, offset] : all)
            at_.emplace(place, offset);
    }
    void release(std::vector<TopicPartition> places) override {
        for (const TopicPartition &place : places)
            at_.erase(place);
    }
    void pause(const std::vector<TopicPartition> &places) override {
        paused_.insert(places.begin(), places.end());
    }
    void resume(const std::vector<TopicPartition> &places) override {
        for (const TopicPartition &place : places)
            paused_.erase(place);
    }
    std::vector<TopicPartition> partitions(const std::string &topic) override {
        std::vector<TopicPartition> all;
        for (const auto &[partition, messages] : kafka_.log)
            all.push_back({topic, partition});
        return all;
    }
    Offsets edges(const std::vector<TopicPartition> &places, Edge edge) override {
        Offsets all;
        for (const TopicPartition &place : places)
            all[place] = edge == Edge::earliest ? 0 : kafka_.end(place.partition);
        return all;
    }
    std::map<TopicPartition, Committed, TopicPartitionOrder>
    committed(const std::vector<TopicPartition> &places) override {
        std::map<TopicPartition, Committed, TopicPartitionOrder> all;
        for (const TopicPartition &place : places)
            all[place] = kafka_.committed[place];
        return all;
    }
    bool tells_topic_ids() const override { return false; }
    TopicIds topic_ids(const std::vector<TopicPartition> &) override { return {}; }
    std::vector<std::string> member_clients() override { return {}; }
    void commit_offsets(const Offsets &next) override {
        for (const auto &[place, offset] : next)
            kafka_.committed[place] = {offset, std::string(kCommitNote)};
    }
    std::int64_t known_end(const TopicPartition &place) const override {
        return kafka_.end(place.partition);
    }
    std::int64_t answered_ms() const override { return kafka_.answered_ms; }
    void close() override {}

    int assigns = 0;

  private:
    Polled message(const TopicPartition &place, std::int64_t offset) {
        const Sent &sent = kafka_.log[place.partition][static_cast<std::size_t>(offset)];
        Polled polled;
        polled.kind = Polled::Kind::message;
        polled.message.topic = "t";
        polled.message.partition = place.partition;
        polled.message.offset = offset;
        polled.message.payload = sent.value;
        polled.message.key = sent.key;
        return polled;
    }

    Kafka &kafka_;
    Offsets at_, told_;
    std::set<TopicPartition> paused_;
};

struct Row {
    std::string value, key, error;
    bool parked = false;
    std::optional<std::int64_t> retry_in_s;
    int attempts = 0;
};

class Database : public InboxDatabase {
  public:
    // What the handler says to a message; nothing: it takes it.
    std::function<std::optional<std::string>(const std::string &)> refuses = [](const auto &) {
        return std::nullopt;
    };
    std::function<void(std::size_t)> on_apply = [](std::size_t) {};
    std::optional<SqlError> own_error; // of the next statement of ours
    std::set<TopicPartition> busy;     // somebody is at work there
    std::vector<std::string> effects;
    std::vector<std::size_t> batches; // what was tried
    std::deque<Row> rows;             // once.inbox
    Offsets stored;
    std::int64_t fence = 0;
    int connects = 0, parks = 0;

    void connect() override {
        ++connects;
        connected_ = true;
    }
    void disconnect() override { connected_ = false; }
    bool connected() const override { return connected_; }
    void rollback() override {}
    void check() override {}
    std::string identity() override { return "7.5"; }
    std::vector<LeaseGrant> claim(const std::vector<TopicPartition> &places,
                                  const TopicIds &) override {
        fail();
        std::vector<LeaseGrant> grants;
        for (const TopicPartition &place : places)
            if (!busy.contains(place))
                grants.push_back({place, ++fence, offset(place), "", "t"});
        return grants;
    }
    std::optional<std::int64_t> begin(const TopicPartition &place,
                                      const Offsets &offsets) override {
        for (const auto &[each, first] : offsets)
            stored.emplace(each, first);
        return offset(place);
    }
    bool skip_to(const TopicPartition &, const PartitionLease &, std::int64_t) override {
        return true;
    }
    Applied apply(const Part &part, const Assignment &) override {
        fail();
        batches.push_back(part.entries.size());
        on_apply(part.entries.size());
        for (const Entry &entry : part.entries)
            if (const auto state = refuses(std::string(*entry.message.payload)))
                throw MessageRefused(SqlError(*state, "no"), judge(*state, During::handler));
        Applied applied;
        for (const Entry &entry : part.entries) {
            effects.emplace_back(*entry.message.payload);
            pass(entry, applied);
        }
        applied.fresh = part.entries.size();
        return applied;
    }
    Applied park(const Entry &entry, const Assignment &, const PutAside &aside) override {
        fail();
        ++parks;
        Applied applied;
        pass(entry, applied);
        applied.parked = 1;
        rows.push_back({std::string(*entry.message.payload),
                        std::string(entry.message.key.value_or("")), aside.error, !aside.retry_in_s,
                        aside.retry_in_s, aside.attempts});
        return applied;
    }
    std::set<std::string> held_keys(const TopicPartition &) override { return {}; }
    std::optional<bool> redrive_one() override { return std::nullopt; }

  private:
    void fail() {
        if (own_error)
            throw *std::exchange(own_error, std::nullopt);
    }
    std::optional<std::int64_t> offset(const TopicPartition &place) const {
        const auto found = stored.find(place);
        return found == stored.end() ? std::nullopt : std::optional(found->second);
    }
    void pass(const Entry &entry, Applied &applied) {
        const TopicPartition place{"t", entry.message.partition};
        stored[place] = applied.next[place] = entry.message.offset + 1;
    }

    bool connected_ = false;
};

} // namespace once::inbox::fake
