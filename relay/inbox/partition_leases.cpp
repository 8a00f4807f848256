#include "relay/inbox/partition_leases.hpp"

#include "relay/options.hpp"
#include "relay/process/crash_point.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"
#include "relay/process/metrics.hpp"

#include <algorithm>

namespace once::inbox {
namespace {

// How often an idle member asks whether the topics are still the same, while a broker answered so
// lately. Before each transaction it is asked anyway.
constexpr int kTopicsMs = 5000;
constexpr int kAnsweredMs = 2000;

} // namespace

PartitionLeases::PartitionLeases(const InboxOptions &options, InboxDatabase &database,
                                 bool until_empty, Dropped dropped)
    : options_(options), database_(database), until_empty_(until_empty),
      dropped_(std::move(dropped)) {}

void PartitionLeases::assigned(const std::vector<TopicPartition> &places) {
    for (const TopicPartition &place : places)
        assignment_[place] = PartitionLease{};
}

void PartitionLeases::revoked(const std::vector<TopicPartition> &places) {
    for (const TopicPartition &place : places) {
        dropped_({place.topic, place.partition});
        assignment_.erase(place);
    }
}

void PartitionLeases::session_lost() {
    for (auto &[place, lease] : assignment_) {
        lease.held = false;
        lease.claim_at_ms = 0;
        dropped_({place.topic, place.partition});
    }
}

void PartitionLeases::lose_all(const std::string &why) {
    for (auto &[place, lease] : assignment_)
        lose(place, why);
}

// The database no longer takes our word for this partition. While the group says it is ours it is
// claimed again after a while; what was read of it is read again.
void PartitionLeases::lose(const TopicPartition &place, const std::string &why) {
    const auto found = assignment_.find(place);
    if (found == assignment_.end())
        return;
    PartitionLease &lease = found->second;
    if (lease.held)
        log::warning(
            "inbox_claim_lost",
            {{"consumer", options_.consumer}, {"partition", to_string(place)}, {"reason", why}});
    lease.held = false;
    lease.claim_at_ms = now_ms() + lease.claim_backoff.next().count();
    dropped_({place.topic, place.partition});
}

bool PartitionLeases::claim_due(GroupConsumer &consumer) {
    std::vector<TopicPartition> due;
    for (const auto &[place, lease] : assignment_)
        if (!lease.held && now_ms() >= lease.claim_at_ms)
            due.push_back(place);
    if (due.empty())
        return false;
    for (const TopicPartition &place : due) { // should anything below fail, not at once again
        PartitionLease &lease = assignment_[place];
        lease.claim_at_ms = now_ms() + lease.claim_backoff.next().count();
    }
    const TopicIds ids = consumer.topic_ids(due);
    // A topic that is not there, and is made again before the next request, would be read from the
    // old one's offset.
    if (consumer.tells_topic_ids())
        std::erase_if(due, [&](const TopicPartition &place) { return !ids.contains(place.topic); });
    if (due.empty())
        return false;
    const std::vector<LeaseGrant> grants = database_.claim(due, ids);
    crash_point(CrashPoint::inbox_after_claim);
    begin_reading(consumer, grants);
    return !grants.empty();
}

void PartitionLeases::begin_reading(GroupConsumer &consumer,
                                    const std::vector<LeaseGrant> &grants) {
    std::vector<TopicPartition> granted;
    for (const LeaseGrant &grant : grants)
        granted.push_back(grant.place);
    const auto committed = consumer.committed(granted);
    const Offsets ends = consumer.edges(granted, GroupConsumer::Edge::latest);
    Offsets from;
    for (const LeaseGrant &grant : grants) {
        refuse_foreign(grant.place, committed.at(grant.place));
        std::int64_t next = 0;
        if (grant.next) {
            next = *grant.next;
        } else {
            next = first_offset(consumer, grant, committed.at(grant.place));
            crash_point(CrashPoint::inbox_after_start);
        }
        PartitionLease &lease = assignment_[grant.place];
        if (!options_.store)
            lease.held_keys = database_.held_keys(grant.place);
        if (until_empty_ && !lease.until)
            lease.until = ends.at(grant.place);
        lease.fence = grant.fence;
        lease.topic_id = grant.topic_id;
        lease.name = grant.name;
        lease.next = lease.read = lease.reached = next;
        lease.held = true;
        lease.since_ms = leased_ms_ = now_ms();
        // Behind the end: Kafka would answer only when somebody asks for more than there is.
        lease.out_of_range = next > ends.at(grant.place);
        from[grant.place] = next;
        log::info("inbox_claimed", {{"consumer", options_.consumer},
                                    {"partition", to_string(grant.place)},
                                    {"fence", grant.fence},
                                    {"offset", next}});
    }
    crash_point(CrashPoint::inbox_before_assign);
    if (!from.empty())
        consumer.assign(from, positions());
}

void PartitionLeases::refuse_foreign(const TopicPartition &place,
                                     const Committed &committed) const {
    if (committed.offset >= 0 && committed.note != kCommitNote)
        throw Refusal(ExitCode::refused,
                      "group \"" + options_.group + "\" is used by another consumer",
                      "It committed offset " + std::to_string(committed.offset) + " of " +
                          to_string(place) + " to Kafka, and not through once-relay.",
                      "Use a group of its own, or, if that consumer is gone for good, remove its "
                      "offsets: kafka-consumer-groups --delete-offsets.");
}

std::int64_t PartitionLeases::first_offset(GroupConsumer &consumer, const LeaseGrant &grant,
                                           const Committed &committed) {
    if (committed.offset >= 0)
        throw Refusal(
            ExitCode::refused,
            "the database does not know how far group \"" + options_.group + "\" got",
            "Kafka has offset " + std::to_string(committed.offset) + " of " +
                to_string(grant.place) +
                " that a relay committed; this database has none. It is another database, or it "
                "was restored from before the group began.",
            "Use the database that has the effects. To begin anew, remove the group's offsets: "
            "kafka-consumer-groups --delete-offsets.");
    // A partition that was added while the group reads the topic is read whole, wherever the group
    // began.
    if (const auto added = database_.begin(grant.place, {}))
        return *added;
    if (options_.start == InboxStart::refuse)
        throw Refusal(ExitCode::refused,
                      "the database has no offset of " + to_string(grant.place) + " for group \"" +
                          options_.group + "\"",
                      {}, "Set start = \"earliest\" or \"latest\" to let a new group begin.");
    const auto edge = options_.start == InboxStart::earliest ? GroupConsumer::Edge::earliest
                                                             : GroupConsumer::Edge::latest;
    const Offsets all = consumer.edges(consumer.partitions(grant.place.topic), edge);
    if (const auto next = database_.begin(grant.place, all))
        return *next;
    throw KafkaUnavailable("the broker that was asked does not know " + to_string(grant.place));
}

// A topic that was deleted and made again under our hands: its partitions are claimed again, which
// says where to read. What was read meanwhile may be of the new topic and is dropped.
void PartitionLeases::look_at_topics(GroupConsumer &consumer) {
    const TopicIds ids = consumer.topic_ids(places());
    for (auto &[place, lease] : assignment_) {
        const auto id = ids.find(place.topic);
        if (!lease.held || lease.topic_id.empty() || id == ids.end() || id->second.empty() ||
            id->second == lease.topic_id)
            continue;
        lose(place, "the topic was deleted and made again");
        lease.claim_at_ms = 0;
        lease.until.reset();
    }
}

void PartitionLeases::look_at_topics_when_due(GroupConsumer &consumer) {
    // Only while the brokers answer: nothing is worth waiting for here.
    if (!consumer.tells_topic_ids() || now_ms() < topics_at_ms_ ||
        now_ms() - consumer.answered_ms() > kAnsweredMs)
        return;
    topics_at_ms_ = now_ms() + kTopicsMs;
    look_at_topics(consumer);
}

// Not before everything that was taken is applied: what is skipped is skipped for good.
void PartitionLeases::resolve_out_of_range(GroupConsumer &consumer) {
    if (std::any_of(assignment_.begin(), assignment_.end(),
                    [](const auto &entry) { return entry.second.out_of_range; }))
        look_at_topics(consumer);
    for (auto &[place, lease] : assignment_)
        if (lease.out_of_range && lease.held && lease.next >= lease.read)
            resolve(consumer, place, lease);
}

void PartitionLeases::resolve(GroupConsumer &consumer, const TopicPartition &place,
                              PartitionLease &lease) {
    using Edge = GroupConsumer::Edge;
    const std::int64_t low = consumer.edges({place}, Edge::earliest).at(place);
    const std::int64_t high = consumer.edges({place}, Edge::latest).at(place);
    if (lease.next > high)
        throw Refusal(ExitCode::refused, "topic \"" + place.topic + "\" was deleted and made again",
                      to_string(place) + " ends at offset " + std::to_string(high) + ", group \"" +
                          options_.group + "\" stands at " + std::to_string(lease.next) + ".",
                      "Its offsets mean other messages now. If that is so, forget the old ones: "
                      "SELECT once.offset_forget('" +
                          options_.group + "', '" + place.topic + "').");
    if (lease.read < low) {
        const std::string gap = "Offsets " + std::to_string(lease.next) + " to " +
                                std::to_string(low - 1) + " of " + to_string(place) +
                                " are gone from Kafka.";
        if (options_.on_out_of_range == RangePolicy::stop)
            throw Refusal(ExitCode::refused, "retention has removed messages that were not read",
                          gap, "Set on_out_of_range = \"skip\" to go on without them.");
        log::error("inbox_messages_gone", {{"consumer", options_.consumer}, {"detail", gap}});
        if (!database_.skip_to(place, lease, low))
            return lose(place, "fenced");
        lease.next = lease.read = low;
    }
    lease.out_of_range = false;
    consumer.assign({{place, lease.read}}, positions());
}

PartitionLeases::Taken PartitionLeases::take(const Message &message) {
    const auto found = assignment_.find(TopicPartitionView{message.topic, message.partition});
    // Not leased: it will be assigned again, with the database's offset.
    if (found == assignment_.end() || !found->second.held || message.offset < found->second.read)
        return {};
    found->second.read = message.offset + 1;
    return {true, found->second.name};
}

void PartitionLeases::reached_end(const TopicPartition &place, std::int64_t offset) {
    if (const auto found = assignment_.find(place); found != assignment_.end())
        found->second.reached = offset;
}

void PartitionLeases::met_out_of_range(const TopicPartition &place) {
    if (const auto found = assignment_.find(place); found != assignment_.end())
        found->second.out_of_range = found->second.held;
}

void PartitionLeases::applied(const Offsets &next) {
    for (const auto &[place, offset] : next) {
        PartitionLease &lease = assignment_[place];
        lease.next = offset;
        lease.claim_backoff.reset();
    }
}

void PartitionLeases::hold_key(const TopicPartition &place, std::string key) {
    assignment_[place].held_keys.insert(std::move(key));
}

void PartitionLeases::refresh_held_keys() {
    for (auto &[place, lease] : assignment_)
        if (!lease.held_keys.empty())
            lease.held_keys = database_.held_keys(place);
}

Offsets PartitionLeases::positions() const {
    Offsets all;
    for (const auto &[place, lease] : assignment_)
        if (lease.held)
            all[place] = lease.read;
    return all;
}

Offsets PartitionLeases::offsets_to_commit() {
    Offsets next;
    for (auto &[place, lease] : assignment_)
        if (lease.held && lease.done_to() != lease.told)
            next[place] = lease.told = lease.done_to();
    return next;
}

std::vector<TopicPartition> PartitionLeases::places() const {
    std::vector<TopicPartition> all;
    for (const auto &[place, lease] : assignment_)
        all.push_back(place);
    return all;
}

bool PartitionLeases::all_held() const {
    return std::all_of(assignment_.begin(), assignment_.end(),
                       [](const auto &entry) { return entry.second.held; });
}

bool PartitionLeases::any_held_key() const {
    return std::any_of(assignment_.begin(), assignment_.end(),
                       [](const auto &entry) { return !entry.second.held_keys.empty(); });
}

std::int64_t PartitionLeases::lag(const GroupConsumer &consumer) const {
    std::int64_t lag = 0;
    for (const auto &[place, lease] : assignment_)
        lag += std::max<std::int64_t>(0, consumer.known_end(place) - lease.done_to());
    return lag;
}

std::int64_t PartitionLeases::held_count() const {
    return std::count_if(assignment_.begin(), assignment_.end(),
                         [](const auto &entry) { return entry.second.held; });
}

bool PartitionLeases::drained() const {
    return std::all_of(assignment_.begin(), assignment_.end(), [](const auto &entry) {
        const PartitionLease &lease = entry.second;
        return lease.held && !lease.out_of_range && lease.until &&
               std::max(lease.read, lease.reached) >= *lease.until;
    });
}

} // namespace once::inbox
