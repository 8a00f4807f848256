// One member of a Kafka group with its own consumer and its own database session: claims what it is
// assigned, applies it batch by batch, finds the message that is to blame, survives what goes away.
// All control flow of the inbox is in member.cpp; one thread, so a rebalance is never handled while
// a transaction is open.
#pragma once

#include "relay/process/exit_code.hpp"
#include "relay/inbox/assignment.hpp"
#include "relay/inbox/consumer.hpp"
#include "relay/inbox/receiver.hpp"
#include "relay/inbox/work.hpp"
#include "relay/process/metrics.hpp"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace once {
struct Options;
class StopSignal;
} // namespace once

namespace once::inbox {

// --until-empty: nobody leaves before everybody is done, or the partitions of those who left would
// begin anew at somebody else.
class Drain {
  public:
    Drain(bool wanted, std::size_t members) : enabled_(wanted), flags_(members) {}
    bool wanted() const { return enabled_; }
    void report(std::size_t member, bool drained) { flags_[member] = drained; }
    bool complete() const;

  private:
    bool enabled_;
    std::vector<std::atomic<bool>> flags_;
};

class Member {
  public:
    Member(const Options &options, const InboxOptions &inbox, InboxMetrics &metrics,
           const StopSignal &stop, Drain &drain, std::size_t number);

    // Until asked to stop or drained. Throws Refusal.
    void run();

  private:
    void work_once();
    void open_session();
    int while_server_works();
    void open_consumer();
    void lose_session(const std::string &why);
    void refuse_first_contact(ExitCode code, const char *what, const std::string &why) const;
    void close();

    void gather();
    bool full(const Batch &batch) const;
    void serve(Polled polled);
    void take(Message message);
    void on_assigned(const std::vector<TopicPartition> &places);
    void answer_group() noexcept;
    void on_revoked(const std::vector<TopicPartition> &places, bool fenced_off);
    void on_trouble(const Polled &polled);

    void claim_due();
    void begin_reading(const std::vector<Claim> &claims);
    std::int64_t first_offset(const Claim &claim, const Committed &committed);
    void refuse_foreign(const TopicPartition &place, const Committed &committed) const;
    void forget_claim(const TopicPartition &place, const std::string &why);
    void look_at_topics();
    void look_at_topics_when_due();
    void settle_out_of_range();

    void apply_current();
    void settle(const Applied &applied);
    void on_refused(const MessageRefused &refused);
    void on_own_error(const SqlError &error);
    void poison(const std::string &error);
    void retry_later(const std::string &why);

    void redrive();
    void advise(bool now);
    void report();
    bool drained() const;
    Offsets positions() const;
    std::vector<TopicPartition> places() const;

    const Options &options_;
    const InboxOptions &inbox_;
    InboxMetrics &metrics_;
    const StopSignal &stop_;
    Drain &drain_;
    const std::size_t number_;

    // Receiver before session in destruction, consumer after work (messages before their client).
    std::unique_ptr<Consumer> consumer_;
    std::unique_ptr<Session> session_;
    std::unique_ptr<Receiver> receiver_;
    Assignment assignment_;
    Work work_;

    bool assigned_once_ = false; // the group gave us our share, if only an empty one
    bool answered_ = true;       // the last assignment, to the group
    bool paused_ = false;
    bool applying_ = false;
    bool ever_ran_ = false;
    const std::int64_t begun_ms_ = now_ms();
    int attempts_ = 0;  // at the current message alone
    int conflicts_ = 0; // at the current part: deadlocks and the like
    std::int64_t retry_at_ms_ = 0;
    Backoff backoff_;
    std::int64_t advise_at_ms_ = 0, report_at_ms_ = 0, redrive_at_ms_ = 0, topics_at_ms_ = 0;
};

} // namespace once::inbox
