// A member of the Kafka group: what it was assigned, messages, ends of partitions. It never decides
// where to read from: whoever uses it assigns with offsets out of the database.
//
// One thread. Rebalances are not handled inside librdkafka's callback: poll() returns them like
// messages, and the group waits until assign() or release() answers.
#pragma once

#include "relay/inbox/message.hpp"
#include "relay/inbox/topic_partition.hpp"
#include "relay/kafka/compat.hpp"

#include <atomic>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace once {
struct KafkaOptions;
struct InboxOptions;
} // namespace once

namespace once::inbox {

using Offsets = std::map<TopicPartition, std::int64_t, PlaceOrder>;

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
    std::string text;
};

struct Committed {
    std::int64_t offset = -1; // -1: none
    std::string note;         // what the committer wrote beside it
};

// What we write beside the offsets that are committed to Kafka as advice.
inline constexpr std::string_view kCommitNote = "once-relay";

class Consumer {
  public:
    // Throws Refusal when librdkafka does not take the settings.
    Consumer(const KafkaOptions &kafka, const InboxOptions &options, const std::string &client_id);
    ~Consumer();
    Consumer(const Consumer &) = delete;
    Consumer &operator=(const Consumer &) = delete;

    void subscribe();
    Polled poll(int timeout_ms);
    // The next message if it is there already and nothing stands before it that is to be dealt with
    // between two transactions: a rebalance, the end of a partition, trouble.
    std::optional<Message> message_at_hand();

    // Answers `assigned`, or gives places another position later: `changed` are read from their new
    // offsets, all others of `all` go on at theirs. Offsets are the next to be read.
    void assign(const Offsets &changed, const Offsets &all);
    // Answers `revoked`.
    void release(std::vector<TopicPartition> places);
    void pause(const std::vector<TopicPartition> &places);
    void resume(const std::vector<TopicPartition> &places);

    // Throw KafkaUnavailable. latest is the last stable offset: what read_committed can reach.
    std::vector<TopicPartition> partitions(const std::string &name);
    enum class Edge { earliest, latest };
    Offsets edges(const std::vector<TopicPartition> &places, Edge edge);
    std::map<TopicPartition, Committed, PlaceOrder>
    committed(const std::vector<TopicPartition> &places);
    // Whether a topic that was made again can be told from the old one.
    static bool tells_topic_ids();
    // Ids of the topics, of those that the brokers tell.
    kafka::TopicIds topic_ids(const std::vector<TopicPartition> &places);
    // client.id of the group's members as its coordinator knows them.
    std::vector<std::string> member_clients();

    // Tells lag tools; nothing here ever reads them to continue.
    void advise(const Offsets &next);

    // End of the log as the last fetch saw it; -1 = not known yet.
    std::int64_t known_end(const TopicPartition &place) const;
    // When a broker last answered (now_ms()): a heartbeat of the group or a fetch.
    std::int64_t answered_ms() const { return *last_answer_ms_; }

    // Leaves the group, bounded.
    void close();

  private:
    static void on_rebalance(rd_kafka_t *, rd_kafka_resp_err_t code,
                             rd_kafka_topic_partition_list_t *list, void *self) noexcept;
    bool cooperative() const;
    Polled from(kafka::Message raw) const;
    void poll_client(int timeout_ms);
    void forget_waiting(const std::vector<TopicPartition> &places);

    std::string topic_;
    std::string group_;
    int request_timeout_ms_;
    // The client's threads write it, and may outlive us.
    std::shared_ptr<std::atomic<std::int64_t>> last_answer_ms_ =
        std::make_shared<std::atomic<std::int64_t>>(0);
    kafka::Client client_;             // messages go before it
    std::deque<Polled> waiting_;       // given out by the next polls, in their order
    std::vector<TopicPartition> held_; // assigned at librdkafka
    bool closed_ = false;
};

struct KafkaUnavailable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

} // namespace once::inbox
