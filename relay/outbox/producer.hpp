// One transactional producer instance: from init_transactions to its end. It remembers whether its
// transactions ended cleanly (rule R1); who finds it unclean throws it away.
//
// Calls come from the pipeline's thread, only init and commit run in the producer's own; delivery
// reports are served inside poll() and flush(), in the thread that calls them.
#pragma once

#include "relay/kafka/classify.hpp"
#include "relay/kafka/handles.hpp"
#include "relay/kafka/pulse.hpp"
#include "relay/outbox/event.hpp"
#include "relay/outbox/topic_lookup.hpp"
#include "relay/outbox/trouble.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <set>

namespace once {
struct KafkaOptions;
}

namespace once::outbox {

// A message to produce; key, payload and headers stay where they are until its report has come.
struct Outgoing {
    const std::string *topic = nullptr;
    std::optional<std::string_view> key;
    std::optional<std::string_view> payload;
    std::int32_t partition = -1;
    std::int64_t time_ms = 0; // 0: now
    std::size_t number = 0;   // comes back with a refusal
};

class Producer {
  public:
    // batch_size: of a request, in bytes; 0: librdkafka's.
    Producer(const KafkaOptions &options, std::string transactional_id, int max_messages,
             int batch_size, kafka::Pulse pulse);
    ~Producer();
    Producer(const Producer &) = delete;
    Producer &operator=(const Producer &) = delete;

    // In its own thread; the answer is fetched by wait().
    // Fences nobody of another cluster than the one expected.
    void start_init(const std::string &cluster, int timeout_ms);
    void start_commit(int timeout_ms);
    bool working() const;
    // Outcome of what was started; retry while it still runs.
    Outcome wait(std::chrono::milliseconds timeout);
    // The same in slices; ends early when the pulse says so.
    Outcome wait_long(std::chrono::milliseconds timeout);

    Outcome begin();
    // Takes the headers in any case. Waits for room in the queue.
    Outcome produce(const Outgoing &message, kafka::Headers headers);
    Outcome flush(std::chrono::milliseconds timeout);      // ok: every report came, none was bad
    Outcome flush_long(std::chrono::milliseconds timeout); // in slices, with the pulse
    void poll() { rd_kafka_poll(client_.get(), 0); }

    bool knows(const std::string &topic) const { return topics_.find(topic) != topics_.end(); }
    // In its own thread, as init and commit; the answers are there once wait() said ok.
    void start_lookup(TopicQuestion question, int timeout_ms);
    TopicAnswers take_answers() { return std::exchange(answers_, {}); }

    void keep(std::shared_ptr<Arena> arena) { kept_.push_back(std::move(arena)); }
    rd_kafka_t *handle() const { return client_.get(); }
    std::int64_t position_offset() const { return last_offset_; }
    const Trouble &trouble() const { return why_; }
    const std::string &id() const { return transactional_id_; }

    // Number of a message whose offset is wanted.
    static constexpr std::size_t kPositionNumber = SIZE_MAX - 1;

  private:
    static void on_log(const rd_kafka_t *client, int level, const char *facility,
                       const char *text) noexcept;
    void name_forbidden_topic();
    static void on_delivery(rd_kafka_t *, const rd_kafka_message_t *, void *opaque);
    static rd_kafka_resp_err_t on_new(rd_kafka_t *, const rd_kafka_conf_t *, void *opaque, char *,
                                      size_t);
    static rd_kafka_resp_err_t on_request_sent(rd_kafka_t *, int, const char *, int32_t,
                                               int16_t api_key, int16_t, int32_t, size_t,
                                               void *opaque);
    void delivered(const rd_kafka_message_t &message) noexcept;
    Outcome noted(kafka::Error error, const char *step);
    Outcome undelivered_outcome();
    void collect_reports();
    void name_culprits();
    void work();
    void start(std::function<Outcome()> job);
    Outcome commit_now(int timeout_ms);
    rd_kafka_topic_t *topic(const std::string &name);

    bool wait_for_room();

    const std::string transactional_id_;
    const kafka::Pulse pulse_;
    std::atomic<int> end_txns_sent_{0};
    int end_txns_before_ = 0;
    bool commit_troubled_ = false; // a commit of this transaction did not end at once and well
    std::size_t reports_missing_ = 0;
    // Of the transaction: messages refused for themselves, each with its topic and partition.
    struct RefusedMessage {
        std::size_t number;
        rd_kafka_resp_err_t error;
        std::pair<const rd_kafka_topic_t *, std::int32_t> partition;
    };
    std::vector<RefusedMessage> refused_;
    std::set<std::pair<const rd_kafka_topic_t *, std::int32_t>> neighbours_; // of named culprits
    bool undelivered_any_ = false;
    std::int64_t last_offset_ = -1;
    Trouble why_;

    std::vector<std::shared_ptr<Arena>> kept_; // outlives the client: it may still be sending
    kafka::Client client_;
    TopicHandles topics_; // goes before the client
    TopicAnswers answers_;
    const std::string *recent_name_ = nullptr;
    rd_kafka_topic_t *recent_topic_ = nullptr;

    mutable std::mutex mutex_;
    std::condition_variable wake_worker_, wake_waiter_;
    std::optional<std::string> forbidden_topic_; // as the log names it
    std::function<Outcome()> job_;
    std::optional<Outcome> result_;
    bool busy_ = false, quit_ = false;
    std::thread worker_; // last
};

} // namespace once::outbox
