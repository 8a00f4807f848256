#include "relay/outbox/postgres_source.hpp"

#include "relay/process/exit_code.hpp"

#include <algorithm>

namespace once::outbox {
namespace {

using postgres::Connection;
using postgres::exec_row;
using postgres::guarded;
using postgres::SessionLost;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A holder whose session was silent for 15 s loses the lane: several chances before that.
constexpr seconds kHeartbeat{3};
// Tasks of the pipeline wait for at most so long behind a wait for new work.
constexpr int kWaitMs = 250;
// Who ends when nothing is left: only so that a commit under way is not asked about in a busy loop.
constexpr int kUntilEmptyWaitMs = 10;
// A standby that was told to stop when nothing waits needs a report younger than itself.
constexpr milliseconds kIdlePause{10000};

} // namespace

PostgresSource::PostgresSource(const Options &options, int lane, LaneMetrics &metrics)
    : options_(options), lane_(lane), metrics_(metrics), lane_text_(std::to_string(lane)),
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
}

Connection &PostgresSource::session() {
    if (!connection_)
        throw SessionLost("no session");
    last_statement_ = Clock::now();
    return *connection_;
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
        } else if (connection_ && upkeep_due()) {
            keep_alive(lock);
        } else if (wants_reading()) {
            read_ahead(lock);
        } else {
            wake_thread_.wait_for(lock, milliseconds(200));
        }
    }
    connection_.reset();
}

// Not only when the session is silent: one that waits for new work again and again never is.
bool PostgresSource::upkeep_due() const {
    const auto now = Clock::now();
    return now >= last_statement_ + kHeartbeat ||
           (reading_ && (report_due() || now >= last_upkeep_ + kHeartbeat));
}

bool PostgresSource::report_due() const {
    const milliseconds pause(options_.outbox.report_ms);
    return latest_ &&
           Clock::now() >= last_report_ + (latest_reported_ ? std::max(pause, kIdlePause) : pause);
}

bool PostgresSource::wants_reading() const {
    return connection_ && reading_ && !slot_ && (wanted_ || reader_.eager());
}

void PostgresSource::lose(const std::string &why) {
    connection_.reset();
    reading_ = false;
    lost_ = why;
    wake_pipeline_.notify_one();
}

void PostgresSource::read_ahead(std::unique_lock<std::mutex> &lock) {
    const std::size_t rows = wanted_rows_;
    lock.unlock();
    const int wait_ms = options_.until_empty ? kUntilEmptyWaitMs : kWaitMs;
    std::optional<Batch> batch;
    std::string trouble;
    const auto begin = Clock::now();
    try {
        guarded([&] {
            Connection &db = session();
            bool work = true;
            deliver_due(db);
            if (behind_empty_) {
                pqxx::nontransaction wait(db.pqxx());
                work = exec_row(wait, "SELECT once.wait(" + lane_text_ + ", '" + reader_.before() +
                                          "'::pg_snapshot, " + std::to_string(wait_ms) + ")")[0]
                           .as<bool>();
            }
            if (work)
                batch = reader_.next(db, rows);
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
    looked_ = true;
    if (!batch)
        last_empty_look_ = begin;
    else if (latest_)
        latest_->idle = false; // what is read waits until it is committed
    slot_ = std::move(batch);
    wake_pipeline_.notify_one();
}

void PostgresSource::keep_alive(std::unique_lock<std::mutex> &lock) {
    last_upkeep_ = Clock::now();
    std::optional<Progressed> what = report_due() ? latest_ : std::nullopt;
    if (what) {
        const bool known = !what->idle || last_upkeep_ - last_empty_look_ < kReportedLook;
        what->idle = what->idle && known;
        latest_reported_ = known;
    }
    lock.unlock();
    std::string trouble;
    try {
        guarded([&] {
            Connection &db = session();
            if (what)
                write_report(db, *what);
            else
                postgres::check_protocol(*std::make_unique<pqxx::nontransaction>(db.pqxx()));
            look_for_redrive(db);
            sweep(db);
        });
    } catch (const std::exception &e) {
        trouble = e.what();
    }
    lock.lock();
    if (!trouble.empty())
        lose(trouble);
}

// --- the pipeline's side

void PostgresSource::confirm() {
    {
        const std::lock_guard lock(mutex_);
        if (!lost_.empty())
            throw SourceLost(lost_);
    }
    in_session([](Connection &db) {
        pqxx::nontransaction(db.pqxx()).exec("SELECT 1");
        return true;
    });
}

void PostgresSource::resume(const Position &position) {
    in_session([&](Connection &) {
        reader_.resume(position);
        metrics_.read_again();
        behind_empty_ = false;
        const std::lock_guard lock(mutex_);
        slot_.reset();
        reading_ = true;
        wanted_ = looked_ = false;
        wanted_rows_ = static_cast<std::size_t>(options_.outbox.max_rows);
        return true;
    });
}

Answer PostgresSource::next(milliseconds wait, std::size_t rows) {
    std::unique_lock lock(mutex_);
    wanted_ = true;
    wanted_rows_ = rows;
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
    redrive_covered_ = what.position.redrive_no;
}

void PostgresSource::close() noexcept {
    try {
        in_session([&](Connection &) {
            connection_.reset();
            const std::lock_guard lock(mutex_);
            reading_ = false;
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

} // namespace once::outbox
