// The source over PostgreSQL. The session lives in a thread of its own: it reads ahead, reports,
// trims and starts a statement at least every few seconds, however long Kafka keeps the pipeline.
// Its statements stand in postgres_queries; what is not delivery is done by Upkeep.
//
// Who touches what: the connection and the reader belong to the thread; the pipeline hands it tasks
// and takes batches out of the slot, both under the mutex.
#pragma once

#include "relay/process/metrics.hpp"
#include "relay/options.hpp"
#include "relay/outbox/difference_reader.hpp"
#include "relay/outbox/source.hpp"
#include "relay/outbox/upkeep.hpp"

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

namespace once::outbox {

class PostgresSource : public Source {
  public:
    PostgresSource(const Options &options, int lane, LaneMetrics &metrics, const StopSignal &stop,
                   Upkeep &upkeep);
    ~PostgresSource() override;

    Claim claim() override;
    Identity identity() override;
    Verdict check_history(const Position &position) override;
    Cut cut() override;
    void confirm() override;
    void resume(const Position &position) override;
    Answer next(std::chrono::milliseconds wait, ReadSize most) override;
    void progressed(const Progressed &what) override;
    void report(const Progressed &what, const std::string &cluster_id) override;
    std::string park(const std::vector<std::int64_t> &seqs, const std::string &error,
                     const std::string &policy, std::int64_t covered) override;
    std::vector<std::int64_t> parked_seqs(std::int64_t after) override;
    std::vector<HeldKey> held_keys(std::int64_t covered_redrive_no) override;
    bool redrive_waiting() override { return upkeep_.redrive_seen; }
    std::optional<Redrive> next_redrive(const Position &position, ReadSize most) override;
    void redrive_refused(std::int64_t seq) override;
    void redrive_unstamp(const std::vector<Uuid> &ids) override;
    std::vector<Uuid> stamped_ids() override;
    std::vector<Uuid> missing_ids(const std::vector<Uuid> &ids) override;
    std::int64_t passed_over(const std::string &snapshot) override;
    std::vector<std::string> topics() override;
    std::optional<std::int64_t> oldest_ms() override;
    void close() noexcept override;

  private:
    using Clock = std::chrono::steady_clock;
    // The pipeline waits for the session with its heart beating.
    static constexpr std::chrono::milliseconds kBeat{1000};

    // Runs fn(session) in the session's thread; what it throws arrives here, a lost session as
    // SourceLost.
    template <typename Function>
    auto in_session(Function fn) -> decltype(fn(std::declval<postgres::Session &>()));
    // The same where there may be no session yet.
    template <typename Function> auto in_thread(Function fn) -> decltype(fn());

    void run(); // the thread
    void read_ahead(std::unique_lock<std::mutex> &lock);
    void keep_alive(std::unique_lock<std::mutex> &lock);
    bool shipper_hangs() const;
    bool statement_due() const; // these three with the mutex held
    bool report_due() const;
    bool wants_reading() const;
    void lose(const std::string &why); // with the mutex held
    void write_report(postgres::Session &session, const Progressed &what,
                      std::chrono::milliseconds lock_timeout);
    // In the thread; throws SessionLost when there is none.
    postgres::Session &session();

    const Options &options_;
    const int lane_;
    LaneMetrics &metrics_;
    const StopSignal &stop_;
    Upkeep &all_upkeep_;
    Upkeep::Lane &upkeep_;

    std::mutex mutex_;
    std::condition_variable wake_thread_, wake_pipeline_;
    std::deque<std::function<void()>> tasks_;
    std::optional<Batch> slot_;
    std::string lost_; // why, until the pipeline has heard of it
    bool reading_ = false;
    bool wanted_ = false; // the pipeline waits in next()
    bool looked_ = false; // an answer since it began to wait
    ReadSize wanted_size_;
    bool quit_ = false;
    std::optional<Progressed> latest_;
    bool latest_reported_ = true;
    std::string incarnation_, cluster_id_;

    // The thread's own.
    std::unique_ptr<postgres::Session> session_;
    DifferenceReader reader_;
    bool behind_empty_ = false; // the last cut gave nothing: wait before the next
    Clock::time_point last_statement_{}, last_report_{}, last_beat_{}, last_empty_look_{};
    std::thread thread_; // last: starts when everything above stands
};

template <typename Function> auto PostgresSource::in_thread(Function fn) -> decltype(fn()) {
    // Shared: the thread may still be on its way out of the task when its answer is here already.
    using Task = std::packaged_task<decltype(fn())()>;
    const auto task = std::make_shared<Task>([&] {
        try {
            return postgres::guarded(fn);
        } catch (const postgres::SessionLost &e) {
            session_.reset();
            throw SourceLost(e.what());
        }
    });
    auto answer = task->get_future();
    {
        const std::lock_guard lock(mutex_);
        tasks_.emplace_back([task] { (*task)(); });
    }
    wake_thread_.notify_one();
    // The session ends each of its waits: so does this one.
    while (answer.wait_for(kBeat) != std::future_status::ready)
        metrics_.beat();
    metrics_.beat();
    return answer.get();
}

template <typename Function>
auto PostgresSource::in_session(Function fn) -> decltype(fn(std::declval<postgres::Session &>())) {
    return in_thread([&] { return fn(session()); });
}

} // namespace once::outbox
