// One member of a Kafka group with its own consumer and its own database session: the loop, what
// the group says, and what is done when a server goes away. Which partitions may be read is
// PartitionLeases', what becomes of their messages is Applier's.
//
// One thread, so a rebalance is never handled while a transaction is open.
#pragma once

#include "relay/inbox/applier.hpp"
#include "relay/inbox/drain.hpp"
#include "relay/inbox/group_consumer.hpp"
#include "relay/inbox/inbox_database.hpp"
#include "relay/inbox/member_state.hpp"
#include "relay/inbox/partition_leases.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/metrics.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace once {
struct Options;
struct InboxOptions;
class StopSignal;
} // namespace once

namespace once::inbox {

// Makes the consumer that joins the group under this client.id. Throws Refusal.
using JoinGroup = std::function<std::unique_ptr<GroupConsumer>(const std::string &client_id)>;

class Member {
  public:
    Member(const Options &options, const InboxOptions &inbox, InboxDatabase &database,
           JoinGroup join, InboxMetrics &metrics, const StopSignal &stop, Drain &drain,
           std::size_t number);

    // Until asked to stop or drained. Throws Refusal.
    void run();
    // One round of the loop: what run() does again and again. Throws Refusal.
    void step();

    // While a statement runs: the next batch is taken and encoded. For how many milliseconds the
    // server may be waited for until the next time.
    int while_server_works();

  private:
    void work_once();
    void open_session();
    void open_consumer();
    void lose_session(const std::string &why);
    void refuse_first_contact(ExitCode code, const char *what, const std::string &why) const;
    void close();

    void gather();
    void serve(Polled polled);
    void take(Message message);
    void on_assigned(const std::vector<TopicPartition> &places);
    void answer_group() noexcept;
    void on_revoked(const std::vector<TopicPartition> &places, bool fenced_off);
    void on_trouble(const Polled &polled);

    void apply_current();
    void on_own_error(const SqlError &error);
    void retry_later(const std::string &why);
    void resume();
    void look_again_where_blocked();
    void redrive();
    void commit_offsets(bool now);
    void report();
    void enter_state();
    bool drained() const;

    const Options &options_;
    const InboxOptions &inbox_;
    InboxDatabase &database_;
    const JoinGroup join_;
    InboxMetrics &metrics_;
    const StopSignal &stop_;
    Drain &drain_;
    const std::size_t number_;

    // Consumer after work in destruction: messages before their client.
    std::unique_ptr<GroupConsumer> consumer_;
    PartitionLeases leases_;
    Applier applier_;
    MemberState state_;

    bool assigned_ = false; // the group gave us our share, if only an empty one
    bool paused_ = false;
    bool applying_ = false;
    bool ever_ran_ = false;
    const std::int64_t begun_ms_ = now_ms();
    std::int64_t got_on_ms_ = 0;
    std::int64_t retry_at_ms_ = 0;
    Backoff backoff_;
    std::int64_t commit_at_ms_ = 0, report_at_ms_ = 0, redrive_at_ms_ = 0, look_again_at_ms_ = 0;
};

} // namespace once::inbox
