// Member: whether a partition may be read, and from where.
#include "relay/inbox/member.hpp"

#include "relay/process/crash_point.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"
#include "relay/options.hpp"

#include <algorithm>

namespace once::inbox {
namespace {

// How often an idle member asks whether the topics are still the same, while a broker answered so
// lately. Before each transaction it is asked anyway.
constexpr int kTopicsMs = 5000;
constexpr int kAnsweredMs = 2000;

} // namespace

// Claims every partition whose turn it is, and reads on from what the database says.
void Member::claim_due() {
    std::vector<TopicPartition> due;
    for (const auto &[place, partition] : assignment_)
        if (!partition.claimed && now_ms() >= partition.claim_at_ms)
            due.push_back(place);
    if (due.empty())
        return;
    for (const TopicPartition &place : due) // should anything below fail, not at once again
        assignment_[place].claim_at_ms = now_ms() + assignment_[place].claim_backoff.next().count();
    const auto ids = consumer_->topic_ids(due);
    // A topic that is not there, and is made again before the next request, would be read from the
    // old one's offset.
    if (Consumer::tells_topic_ids())
        std::erase_if(due, [&](const TopicPartition &place) { return !ids.contains(place.topic); });
    if (due.empty())
        return;
    const std::vector<Claim> claims = receiver_->claim(due, ids);
    crash_point(CrashPoint::inbox_after_claim);
    begin_reading(claims);
}

void Member::begin_reading(const std::vector<Claim> &claims) {
    std::vector<TopicPartition> claimed;
    for (const Claim &claim : claims)
        claimed.push_back(claim.place);
    const auto committed = consumer_->committed(claimed);
    const Offsets ends = consumer_->edges(claimed, Consumer::Edge::latest);
    Offsets from;
    for (const Claim &claim : claims) {
        refuse_foreign(claim.place, committed.at(claim.place));
        std::int64_t next = 0;
        if (claim.next) {
            next = *claim.next;
        } else {
            next = first_offset(claim, committed.at(claim.place));
            crash_point(CrashPoint::inbox_after_start);
        }
        Partition &partition = assignment_[claim.place];
        if (!inbox_.store)
            partition.held_keys = receiver_->held_keys(claim.place);
        if (drain_.wanted() && !partition.until)
            partition.until = ends.at(claim.place);
        partition.fence = claim.fence;
        partition.topic_id = claim.topic_id;
        partition.name = claim.name;
        partition.next = partition.read = partition.reached = next;
        partition.claimed = true;
        // Behind the end: Kafka would answer only when somebody asks for more than there is.
        partition.out_of_range = next > ends.at(claim.place);
        from[claim.place] = next;
        log::info("inbox_claimed", {{"consumer", inbox_.consumer},
                                    {"partition", to_string(claim.place)},
                                    {"fence", claim.fence},
                                    {"offset", next}});
    }
    crash_point(CrashPoint::inbox_before_assign);
    if (from.empty())
        return;
    consumer_->assign(from, positions());
    answered_ = true;
}

void Member::refuse_foreign(const TopicPartition &place, const Committed &committed) const {
    if (committed.offset >= 0 && committed.note != kCommitNote)
        throw Refusal(ExitCode::refused,
                      "group \"" + inbox_.group + "\" is used by another consumer",
                      "It committed offset " + std::to_string(committed.offset) + " of " +
                          to_string(place) + " to Kafka, and not through once-relay.",
                      "Use a group of its own, or, if that consumer is gone for good, remove its "
                      "offsets: kafka-consumer-groups --delete-offsets.");
}

std::int64_t Member::first_offset(const Claim &claim, const Committed &committed) {
    if (committed.offset >= 0)
        throw Refusal(
            ExitCode::refused,
            "the database does not know how far group \"" + inbox_.group + "\" got",
            "Kafka has offset " + std::to_string(committed.offset) + " of " +
                to_string(claim.place) +
                " that a relay committed; this database has none. It is another database, or it "
                "was "
                "restored from before the group began.",
            "Use the database that has the effects. To begin anew, remove the group's offsets: "
            "kafka-consumer-groups --delete-offsets.");
    // A partition that was added while the group reads the topic is read whole, wherever the group
    // began.
    if (const auto added = receiver_->begin(claim.place, {}))
        return *added;
    if (inbox_.start == InboxStart::refuse)
        throw Refusal(ExitCode::refused,
                      "the database has no offset of " + to_string(claim.place) + " for group \"" +
                          inbox_.group + "\"",
                      {}, "Set start = \"earliest\" or \"latest\" to let a new group begin.");
    const auto edge =
        inbox_.start == InboxStart::earliest ? Consumer::Edge::earliest : Consumer::Edge::latest;
    const Offsets all = consumer_->edges(consumer_->partitions(claim.place.topic), edge);
    if (const auto next = receiver_->begin(claim.place, all))
        return *next;
    throw KafkaUnavailable("the broker that was asked does not know " + to_string(claim.place));
}

// The database no longer takes our word for this partition. While the group says it is ours it is
// claimed again after a while; what was read of it is read again.
void Member::forget_claim(const TopicPartition &place, const std::string &why) {
    Partition &partition = assignment_[place];
    if (partition.claimed)
        log::warning(
            "inbox_claim_lost",
            {{"consumer", inbox_.consumer}, {"partition", to_string(place)}, {"reason", why}});
    partition.claimed = false;
    partition.claim_at_ms = now_ms() + partition.claim_backoff.next().count();
    work_.drop({place.topic, place.partition});
}

// A topic that was deleted and made again under our hands: its partitions are claimed again, which
// says where to read. What was read meanwhile may be of the new topic and is dropped.
void Member::look_at_topics() {
    const auto ids = consumer_->topic_ids(places());
    for (auto &[place, partition] : assignment_) {
        const auto id = ids.find(place.topic);
        if (!partition.claimed || partition.topic_id.empty() || id == ids.end() ||
            id->second.empty() || id->second == partition.topic_id)
            continue;
        forget_claim(place, "the topic was deleted and made again");
        partition.claim_at_ms = 0;
        partition.until.reset();
    }
}

void Member::look_at_topics_when_due() {
    // Only while the brokers answer: nothing is worth waiting for here.
    if (!Consumer::tells_topic_ids() || now_ms() < topics_at_ms_ ||
        now_ms() - consumer_->answered_ms() > kAnsweredMs)
        return;
    topics_at_ms_ = now_ms() + kTopicsMs;
    look_at_topics();
}

// Not before everything that was taken is applied: what is skipped is skipped for good.
void Member::settle_out_of_range() {
    if (std::any_of(assignment_.begin(), assignment_.end(),
                    [](const auto &entry) { return entry.second.out_of_range; }))
        look_at_topics();
    for (auto &[place, partition] : assignment_) {
        if (!partition.out_of_range || !partition.claimed || partition.next < partition.read)
            continue;
        const std::int64_t low = consumer_->edges({place}, Consumer::Edge::earliest).at(place);
        const std::int64_t high = consumer_->edges({place}, Consumer::Edge::latest).at(place);
        const std::string at = to_string(place) + " ends at offset " + std::to_string(high) +
                               ", group \"" + inbox_.group + "\" stands at " +
                               std::to_string(partition.next) + ".";
        if (partition.next > high)
            throw Refusal(
                ExitCode::refused, "topic \"" + place.topic + "\" was deleted and made again", at,
                "Its offsets mean other messages now. If that is so, forget the old ones: "
                "SELECT once.offset_forget('" +
                    inbox_.group + "', '" + place.topic + "').");
        if (partition.read < low) {
            const std::string gap = "Offsets " + std::to_string(partition.next) + " to " +
                                    std::to_string(low - 1) + " of " + to_string(place) +
                                    " are gone from Kafka.";
            if (inbox_.on_out_of_range == RangePolicy::stop)
                throw Refusal(ExitCode::refused,
                              "retention has removed messages that were not read", gap,
                              "Set on_out_of_range = \"skip\" to go on without them.");
            log::error("inbox_messages_gone", {{"consumer", inbox_.consumer}, {"detail", gap}});
            if (!receiver_->skip_to(place, partition, low)) {
                forget_claim(place, "fenced");
                continue;
            }
            partition.next = partition.read = low;
        }
        partition.out_of_range = false;
        consumer_->assign({{place, partition.read}}, positions());
    }
}

} // namespace once::inbox
