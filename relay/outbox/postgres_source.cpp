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
    : options(options), lane(lane), metrics(metrics), lane_text(std::to_string(lane)),
      reader(lane, ReadLimits{static_cast<std::size_t>(options.outbox.max_rows),
                              static_cast<std::size_t>(options.outbox.slice_rows),
                              static_cast<std::size_t>(options.outbox.max_bytes)}),
      thread([this] { run(); }) {}

PostgresSource::~PostgresSource() {
    {
        const std::lock_guard lock(mutex);
        quit = true;
    }
    wake_thread.notify_one();
    thread.join();
}

Connection &PostgresSource::session() {
    if (!connection)
        throw SessionLost("no session");
    last_statement = Clock::now();
    return *connection;
}

// --- the thread

void PostgresSource::run() {
    std::unique_lock lock(mutex);
    while (!quit) {
        if (!tasks.empty()) {
            auto task = std::move(tasks.front());
            tasks.pop_front();
            lock.unlock();
            task();
            lock.lock();
        } else if (connection && upkeep_due()) {
            keep_alive(lock);
        } else if (wants_reading()) {
            read_ahead(lock);
        } else {
            wake_thread.wait_for(lock, milliseconds(200));
        }
    }
    connection.reset();
}

// Not only when the session is silent: one that waits for new work again and again never is.
bool PostgresSource::upkeep_due() const {
    const auto now = Clock::now();
    return now >= last_statement + kHeartbeat ||
           (reading && (report_due() || now >= last_upkeep + kHeartbeat));
}

bool PostgresSource::report_due() const {
    const milliseconds pause(options.outbox.report_ms);
    return latest &&
           Clock::now() >= last_report + (latest_reported ? std::max(pause, kIdlePause) : pause);
}

bool PostgresSource::wants_reading() const {
    return connection && reading && !slot && (wanted || reader.eager());
}

void PostgresSource::lose(const std::string &why) {
    connection.reset();
    reading = false;
    lost = why;
    wake_pipeline.notify_one();
}

void PostgresSource::read_ahead(std::unique_lock<std::mutex> &lock) {
    const std::size_t rows = wanted_rows;
    lock.unlock();
    const int wait_ms = options.until_empty ? kUntilEmptyWaitMs : kWaitMs;
    std::optional<Batch> batch;
    std::string trouble;
    const auto begin = Clock::now();
    try {
        guarded([&] {
            Connection &db = session();
            bool work = true;
            deliver_due(db);
            if (behind_empty) {
                pqxx::nontransaction wait(db.pqxx());
                work = exec_row(wait, "SELECT once.wait(" + lane_text + ", '" + reader.before() +
                                          "'::pg_snapshot, " + std::to_string(wait_ms) + ")")[0]
                           .as<bool>();
            }
            if (work)
                batch = reader.next(db, rows);
            behind_empty = !batch;
            last_statement = Clock::now();
        });
    } catch (const std::exception &e) {
        trouble = e.what(); // a refusal too: whoever connects next hears it in full
    }
    lock.lock();
    if (!trouble.empty())
        return lose(trouble);
    metrics.read(batch ? static_cast<std::int64_t>(batch->events.size()) : 0, reader.behind());
    looked = true;
    if (!batch)
        last_empty_look = begin;
    else if (latest)
        latest->idle = false; // what is read waits until it is committed
    slot = std::move(batch);
    wake_pipeline.notify_one();
}

void PostgresSource::keep_alive(std::unique_lock<std::mutex> &lock) {
    last_upkeep = Clock::now();
    std::optional<Progressed> what = report_due() ? latest : std::nullopt;
    if (what) {
        const bool known = !what->idle || last_upkeep - last_empty_look < kReportedLook;
        what->idle = what->idle && known;
        latest_reported = known;
    }
    lock.unlock();
    std::string trouble;
    try {
        guarded([&] {
            Connection &db = session();
            if (what)
                write_report(db, *what);
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
        const std::lock_guard lock(mutex);
        if (!lost.empty())
            throw SourceLost(lost);
    }
    in_session([](Connection &db) {
        pqxx::nontransaction(db.pqxx()).exec("SELECT 1");
        return true;
    });
}

void PostgresSource::resume(const Position &position) {
    in_session([&](Connection &) {
        reader.resume(position);
        metrics.read_again();
        behind_empty = false;
        const std::lock_guard lock(mutex);
        slot.reset();
        reading = true;
        wanted = looked = false;
        wanted_rows = static_cast<std::size_t>(options.outbox.max_rows);
        return true;
    });
}

Answer PostgresSource::next(milliseconds wait, std::size_t rows) {
    std::unique_lock lock(mutex);
    wanted = true;
    wanted_rows = rows;
    looked = slot.has_value();
    wake_thread.notify_one();
    wake_pipeline.wait_for(lock, wait, [&] { return slot || looked || !lost.empty(); });
    if (!lost.empty())
        throw SourceLost(lost);
    if (!slot && !looked)
        return {};
    wanted = false;
    Answer answer{std::exchange(slot, std::nullopt), true};
    lock.unlock();
    wake_thread.notify_one(); // perhaps the next one can be read ahead
    return answer;
}

void PostgresSource::progressed(const Progressed &what) {
    const std::lock_guard lock(mutex);
    latest_reported =
        latest_reported && latest && latest->position == what.position && latest->idle == what.idle;
    latest = what;
    redrive_covered = what.position.redrive_no;
}

void PostgresSource::close() noexcept {
    try {
        in_session([&](Connection &) {
            connection.reset();
            const std::lock_guard lock(mutex);
            reading = false;
            slot.reset();
            latest.reset();
            return true;
        });
    } catch (const std::exception &) {
        // Nothing was open.
    }
    const std::lock_guard lock(mutex);
    lost.clear();
}

} // namespace once::outbox
