// A member of a Kafka group as the inbox sees it: what it was assigned, messages, ends of
// partitions. It never decides where to read from: whoever uses it assigns with offsets out of the
// database. librdkafka stands behind it (consumer.hpp), or a fake (test/unit/fake_group.hpp).
#pragma once

#include "relay/inbox/message.hpp"
#include "relay/inbox/topic_partition.hpp"

#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace once::inbox {

using Offsets = std::map<TopicPartition, std::int64_t, TopicPartitionOrder>;

struct Polled {
    enum class Kind {
        nothing,
        message,
        assigned,     // places: answer with assign()
        revoked,      // places: answer with release()
        end,          // place: everything below offset was given out
        out_of_range, // place: offset is not there (any more)
        trouble,      // text: it goes on trying
        lost          // this client is of no use any more, text says why
    };
    Kind kind = Kind::nothing;
    Message message;
    std::vector<TopicPartition> places;
    TopicPartition place;
    std::int64_t offset = 0;
    bool fenced_off = false; // revoked because the group gave us up: others own the places already
    bool blocked = false;    // trouble that somebody has to repair: topic missing, not authorised
    bool outlived = false;   // trouble: a batch took longer than max.poll.interval.ms
    std::string text;
};

struct Committed {
    std::int64_t offset = -1; // -1: none
    std::string note;         // what the committer wrote beside it
};

// What we write beside the offsets that are committed to Kafka for lag tools.
inline constexpr std::string_view kCommitNote = "once-relay";

// Topic name → the id that Kafka gave the topic; empty: it gave none.
using TopicIds = std::map<std::string, std::string>;

class GroupConsumer {
  public:
    virtual ~GroupConsumer() = default;

    virtual void subscribe() = 0;
    virtual Polled poll(int timeout_ms) = 0;
    // The next message if it is there already and nothing stands before it that is to be dealt with
    // between two transactions: a rebalance, the end of a partition, trouble.
    virtual std::optional<Message> message_at_hand() = 0;

    // Answers `assigned`, or gives places another position later: `changed` are read from their new
    // offsets, all others of `all` go on at theirs. Offsets are the next to be read.
    virtual void assign(const Offsets &changed, const Offsets &all) = 0;
    // Answers `revoked`.
    virtual void release(std::vector<TopicPartition> places) = 0;
    virtual void pause(const std::vector<TopicPartition> &places) = 0;
    virtual void resume(const std::vector<TopicPartition> &places) = 0;

    // Throw KafkaUnavailable. latest is the last stable offset: what read_committed can reach.
    virtual std::vector<TopicPartition> partitions(const std::string &topic) = 0;
    enum class Edge { earliest, latest };
    virtual Offsets edges(const std::vector<TopicPartition> &places, Edge edge) = 0;
    virtual std::map<TopicPartition, Committed, TopicPartitionOrder>
    committed(const std::vector<TopicPartition> &places) = 0;
    // Whether a topic that was made again can be told from the old one.
    virtual bool tells_topic_ids() const = 0;
    // Ids of the topics, of those that the brokers tell.
    virtual TopicIds topic_ids(const std::vector<TopicPartition> &places) = 0;
    // client.id of the group's members as its coordinator knows them.
    virtual std::vector<std::string> member_clients() = 0;

    // Tells lag tools; nothing here ever reads them to continue.
    virtual void commit_offsets(const Offsets &next) = 0;

    // End of the log as the last fetch saw it; -1 = not known yet.
    virtual std::int64_t known_end(const TopicPartition &place) const = 0;
    // When a broker last answered (now_ms()): a heartbeat of the group or a fetch.
    virtual std::int64_t answered_ms() const = 0;

    // Leaves the group, bounded.
    virtual void close() = 0;
};

struct KafkaUnavailable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

} // namespace once::inbox
