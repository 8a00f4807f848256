#include "relay/outbox/postgres_source.hpp"

#include "relay/outbox/postgres_queries.hpp"
#include "relay/process/crash_point.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

#include <unistd.h>

namespace once::outbox {
namespace {

using postgres::guarded;
using postgres::Session;
using postgres::SessionLost;
using postgres::SqlError;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A holder whose session was silent for 15 s loses the lane: several chances before that.
constexpr seconds kHeartbeat{3};
// Tasks of the pipeline wait for at most so long behind a wait for new work.
constexpr milliseconds kWait{250};
// Who ends when nothing is left: only so that a commit under way is not asked about in a busy loop.
constexpr milliseconds kUntilEmptyWait{10};
// A standby that was told to stop when nothing waits needs a report younger than itself.
constexpr milliseconds kIdlePause{10000};
// For somebody's lock on what the report writes: nobody waits for the report, delivery waits
// behind it.
constexpr milliseconds kReportLockTimeout{100};
// The first report and the last one are waited for.
constexpr milliseconds kLockTimeout{5000};

std::string host_name() {
    char name[256] = "";
    ::gethostname(name, sizeof name - 1);
    return name;
}

// Somebody's lock, a deadlock, a full disk: the report is written later.
bool passes(const std::string &sqlstate) {
    return sqlstate == "55P03" || sqlstate == "57014" || sqlstate.starts_with("40") ||
           sqlstate.starts_with("53");
}

} // namespace

PostgresSource::PostgresSource(const Options &options, int lane, LaneMetrics &metrics,
                               const StopSignal &stop, Upkeep &upkeep)
    : options_(options), lane_(lane), metrics_(metrics), stop_(stop), all_upkeep_(upkeep),
      upkeep_(upkeep.lane(lane)),
      reader_(lane, ReadLimits{static_cast<std::size_t>(options.outbox.max_rows),
                               static_cast<std::size_t>(options.outbox.slice_rows),
                               static_cast<std::size_t>(options.outbox.max_bytes)}),
      thread_([this] { run(); }) {}

PostgresSource::~PostgresSource() {
    {
        const std::lock_guard lock(mutex_);
        quit_ = true;
    }
    wake_thread_.notify_one();
    thread_.join();
    upkeep_.held = false;
}

Session &PostgresSource::session() {
    if (!session_) {
        const std::lock_guard lock(mutex_);
        throw SessionLost(lost_.empty() ? "no session" : lost_);
    }
    last_statement_ = Clock::now();
    return *session_;
}

// --- the thread

void PostgresSource::run() {
    std::unique_lock lock(mutex_);
    while (!quit_) {
        if (!tasks_.empty()) {
            auto task = std::move(tasks_.front());
            tasks_.pop_front();
            lock.unlock();
            task();
            lock.lock();
        } else if (session_ && reading_ && shipper_hangs()) {
            lose("the thread that ships has not come by for " +
                 std::to_string(metrics_.silent_ms() / 1000) + " s");
        } else if (session_ && statement_due()) {
            keep_alive(lock);
        } else if (wants_reading()) {
            read_ahead(lock);
        } else {
            wake_thread_.wait_for(lock, milliseconds(200));
        }
    }
    session_.reset();
}

// Our own statements keep the lane's session young whatever becomes of the pipeline: where it does
// not come by, nothing is shipped, and a standby has to have the lane.
bool PostgresSource::shipper_hangs() const {
    return metrics_.silent_ms() > options_.database.session_timeout_ms;
}

// Not only when the session is silent: one that waits for new work again and again never is.
bool PostgresSource::statement_due() const {
    const auto now = Clock::now();
    return now >= last_statement_ + kHeartbeat ||
           (reading_ && (report_due() || now >= last_beat_ + kHeartbeat));
}

bool PostgresSource::report_due() const {
    const milliseconds pause(options_.outbox.report_ms);
    return latest_ &&
           Clock::now() >= last_report_ + (latest_reported_ ? std::max(pause, kIdlePause) : pause);
}

bool PostgresSource::wants_reading() const {
    return session_ && reading_ && !slot_ && (wanted_ || reader_.eager());
}

void PostgresSource::lose(const std::string &why) {
    session_.reset();
    reading_ = false;
    upkeep_.held = false;
    lost_ = why;
    wake_pipeline_.notify_one();
}

void PostgresSource::read_ahead(std::unique_lock<std::mutex> &lock) {
    const ReadSize most = wanted_size_;
    lock.unlock();
    std::optional<Batch> batch;
    std::string trouble;
    const auto begin = Clock::now();
    // Nothing is there only when what was due is there, too.
    const bool complete = !options_.until_empty || all_upkeep_.due_delivered();
    try {
        guarded([&] {
            Session &db = session();
            bool work = true;
            if (behind_empty_)
                work = queries::wait(db, lane_, reader_.before(),
                                     options_.until_empty ? kUntilEmptyWait : kWait);
            if (work)
                batch = reader_.next(db, most);
            behind_empty_ = !batch;
            last_statement_ = Clock::now();
        });
    } catch (const std::exception &e) {
        trouble = e.what(); // a refusal too: whoever connects next hears it in full
    }
    lock.lock();
    if (!trouble.empty())
        return lose(trouble);
    metrics_.read(batch ? static_cast<std::int64_t>(batch->events.size()) : 0, reader_.behind());
    looked_ = batch || complete;
    if (!batch)
        last_empty_look_ = begin;
    else if (latest_)
        latest_->idle = false; // what is read waits until it is committed
    slot_ = std::move(batch);
    wake_pipeline_.notify_one();
}

void PostgresSource::keep_alive(std::unique_lock<std::mutex> &lock) {
    last_beat_ = Clock::now();
    std::optional<Progressed> what = report_due() ? latest_ : std::nullopt;
    if (what) {
        const bool known = !what->idle || last_beat_ - last_empty_look_ < kReportedLook;
        what->idle = what->idle && known;
        latest_reported_ = known;
    }
    lock.unlock();
    std::string trouble;
    bool written = true;
    try {
        guarded([&] {
            Session &db = session();
            postgres::check_protocol(db); // the extension may have been updated meanwhile
            if (!what)
                return;
            try {
                write_report(db, *what, kReportLockTimeout);
            } catch (const SqlError &error) {
                if (!passes(error.sqlstate))
                    throw;
                written = false;
                log::warning(
                    "upkeep_failed",
                    {{"chore", "report"},
                     {"lane", lane_},
                     {"reason", std::string(error.what()) + " (SQLSTATE " + error.sqlstate + ")"}});
            }
        });
    } catch (const std::exception &e) {
        trouble = e.what();
    }
    lock.lock();
    latest_reported_ = latest_reported_ && written;
    if (!trouble.empty())
        lose(trouble);
}

void PostgresSource::write_report(Session &db, const Progressed &what, milliseconds lock_timeout) {
    last_report_ = Clock::now();
    const nlohmann::json info{{"host", host_name()},     {"pid", ::getpid()},
                              {"version", ONCE_VERSION}, {"state", to_string(metrics_.state)},
                              {"empty", what.idle},      {"partitions", metrics_.partitions.all()}};
    metrics_.trimmed += static_cast<std::uint64_t>(
        queries::report(db, lane_, {incarnation_, cluster_id_, what, info.dump()}, lock_timeout));
}

// --- the pipeline's side

void PostgresSource::confirm() {
    {
        const std::lock_guard lock(mutex_);
        if (!lost_.empty())
            throw SourceLost(lost_);
    }
    in_session([](Session &db) { return db.rows("SELECT 1").size(); });
}

void PostgresSource::resume(const Position &position) {
    in_session([&](Session &) {
        reader_.resume(position);
        metrics_.read_again();
        behind_empty_ = false;
        const std::lock_guard lock(mutex_);
        upkeep_.held = true;
        slot_.reset();
        reading_ = true;
        wanted_ = looked_ = false;
        wanted_size_ = {static_cast<std::size_t>(options_.outbox.max_rows),
                        static_cast<std::size_t>(options_.outbox.max_bytes)};
        return true;
    });
}

Answer PostgresSource::next(milliseconds wait, ReadSize most) {
    std::unique_lock lock(mutex_);
    wanted_ = true;
    wanted_size_ = most;
    looked_ = slot_.has_value();
    wake_thread_.notify_one();
    wake_pipeline_.wait_for(lock, wait, [&] { return slot_ || looked_ || !lost_.empty(); });
    if (!lost_.empty())
        throw SourceLost(lost_);
    if (!slot_ && !looked_)
        return {};
    wanted_ = false;
    Answer answer{std::exchange(slot_, std::nullopt), true};
    lock.unlock();
    wake_thread_.notify_one(); // perhaps the next one can be read ahead
    return answer;
}

void PostgresSource::progressed(const Progressed &what) {
    const std::lock_guard lock(mutex_);
    latest_reported_ = latest_reported_ && latest_ && latest_->position == what.position &&
                       latest_->idle == what.idle;
    latest_ = what;
    upkeep_.redrive_covered = what.position.redrive_no;
}

void PostgresSource::close() noexcept {
    try {
        in_session([&](Session &) {
            session_.reset();
            const std::lock_guard lock(mutex_);
            reading_ = false;
            upkeep_.held = false;
            slot_.reset();
            latest_.reset();
            return true;
        });
    } catch (const std::exception &) {
        // Nothing was open.
    }
    const std::lock_guard lock(mutex_);
    lost_.clear();
}

// --- statements that the pipeline waits for

Claim PostgresSource::claim() {
    {
        const std::lock_guard lock(mutex_);
        lost_.clear();
    }
    return in_thread([&] {
        if (!session_)
            session_ = postgres::connect(options_.database, postgres::Purpose::lane, &stop_);
        postgres::check_protocol(session()); // a standby may have waited for weeks
        return queries::lane_lock(session(), lane_);
    });
}

Identity PostgresSource::identity() {
    return in_session([&](Session &db) {
        Identity identity = queries::identity(db, lane_);
        const std::lock_guard lock(mutex_);
        incarnation_ = identity.incarnation;
        return identity;
    });
}

Verdict PostgresSource::check_history(const Position &position) {
    return in_session([&](Session &db) { return queries::history_check(db, lane_, position); });
}

Cut PostgresSource::cut() {
    return in_session([&](Session &db) { return take_cut(db, lane_); });
}

void PostgresSource::report(const Progressed &what, const std::string &cluster) {
    in_session([&](Session &db) {
        {
            const std::lock_guard lock(mutex_);
            cluster_id_ = cluster;
            incarnation_ = what.position.incarnation;
            latest_ = what;
            latest_reported_ = true;
        }
        write_report(db, what, kLockTimeout);
        return true;
    });
}

std::string PostgresSource::park(const std::vector<std::int64_t> &seqs, const std::string &error,
                                 const std::string &policy, std::int64_t covered) {
    return in_session([&](Session &db) {
        queries::park(db, lane_, seqs, error, policy, covered);
        metrics_.parked += seqs.size();
        return take_cut(db, lane_).lsn; // flushed, and waited for, behind the commit
    });
}

std::vector<std::int64_t> PostgresSource::parked_seqs(std::int64_t after) {
    return in_session([&](Session &db) { return queries::parked_seqs(db, lane_, after); });
}

std::vector<HeldKey> PostgresSource::held_keys(std::int64_t covered) {
    return in_session([&](Session &db) { return queries::held_keys(db, lane_, covered); });
}

std::optional<Redrive> PostgresSource::next_redrive(const Position &position, ReadSize most) {
    return in_session([&](Session &db) {
        upkeep_.redrive_covered = position.redrive_no;
        auto redrive = queries::stamped_above(db, lane_, position.redrive_no);
        if (!redrive && queries::stamp_next(db, lane_, position, most) > 0) {
            crash_point(CrashPoint::after_stamp);
            redrive = queries::stamped_above(db, lane_, position.redrive_no);
        }
        upkeep_.redrive_seen = redrive.has_value();
        if (redrive) {
            const Cut covering = take_cut(db, lane_);
            redrive->batch.lsn = covering.lsn;
            redrive->batch.timeline = covering.timeline;
        }
        return redrive;
    });
}

void PostgresSource::redrive_refused(std::int64_t seq) {
    in_session([&](Session &db) { queries::redrive_refused(db, lane_, seq); });
}

void PostgresSource::redrive_unstamp(const std::vector<Uuid> &ids) {
    in_session([&](Session &db) { queries::redrive_unstamp(db, lane_, ids); });
}

std::vector<Uuid> PostgresSource::stamped_ids() {
    return in_session([&](Session &db) { return queries::stamped_ids(db, lane_); });
}

std::vector<Uuid> PostgresSource::missing_ids(const std::vector<Uuid> &ids) {
    return in_session([&](Session &db) { return queries::missing_ids(db, lane_, ids); });
}

std::int64_t PostgresSource::passed_over(const std::string &snapshot) {
    return in_session([&](Session &db) { return queries::passed_over(db, lane_, snapshot); });
}

std::optional<std::int64_t> PostgresSource::oldest_ms() {
    return in_session([&](Session &db) { return queries::oldest_ms(db, lane_); });
}

std::vector<std::string> PostgresSource::topics() {
    return in_session([&](Session &db) { return queries::topics(db, lane_); });
}

} // namespace once::outbox
