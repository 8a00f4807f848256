#include "relay/outbox/upkeep.hpp"

#include "relay/outbox/postgres_queries.hpp"
#include "relay/process/log.hpp"
#include "relay/process/stop_signal.hpp"

#include <algorithm>

namespace once::outbox {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kDeliveryPause{500}; // how late an event with deliver_at may be
constexpr milliseconds kRedrivePause{2000};
constexpr milliseconds kSweepPause{15000};
// After a failure: somebody's lock, or a database that is away.
constexpr milliseconds kFailedPause{2000};
constexpr milliseconds kTick{250};

} // namespace

Upkeep::Upkeep(const Options &options, const StopSignal &stop)
    : options_(options),
      stop_(stop), chores_{{"deliver_due", &Upkeep::deliver_due, kDeliveryPause},
                           {"redrive_look", &Upkeep::look_for_redrive, kRedrivePause},
                           {"sweep", &Upkeep::sweep, kSweepPause}},
      thread_([this] { run(); }) {}

Upkeep::~Upkeep() {
    {
        const std::lock_guard lock(guard_);
        quit_ = true;
    }
    wake_.notify_one();
    thread_.join();
}

Upkeep::Lane &Upkeep::lane(int number) {
    const std::lock_guard lock(guard_);
    for (Lane &known : lanes_)
        if (known.number == number)
            return known;
    return lanes_.emplace_back(number);
}

bool Upkeep::any_held() const {
    return std::any_of(lanes_.begin(), lanes_.end(),
                       [](const Lane &lane) { return lane.held.load(); });
}

void Upkeep::run() {
    std::unique_lock lock(guard_);
    while (!quit_ && !stop_.requested()) {
        if (any_held()) {
            lock.unlock();
            run_due();
            lock.lock();
        }
        if (!quit_)
            wake_.wait_for(lock, kTick);
    }
    lock.unlock();
    session_.reset();
}

void Upkeep::run_due() {
    for (Chore &chore : chores_)
        if (Clock::now() >= chore.next && !stop_.requested())
            perform(chore);
}

// Nothing that happens here ends anything: who ships hears of a lost database by himself.
void Upkeep::perform(Chore &chore) {
    chore.next = Clock::now() + chore.pause;
    try {
        if (!session_)
            session_ = postgres::connect(options_.database, postgres::Purpose::upkeep, &stop_);
        (this->*chore.act)();
        return;
    } catch (const postgres::SqlError &error) {
        failed(chore.name, std::string(error.what()) + " (SQLSTATE " + error.sqlstate + ")");
    } catch (const std::exception &error) {
        session_.reset();
        failed(chore.name, error.what());
    }
    chore.next = std::max(chore.next, Clock::now() + kFailedPause);
}

void Upkeep::failed(const char *chore, const std::string &why) {
    if (!stop_.requested())
        log::warning("upkeep_failed", {{"chore", chore}, {"reason", why}});
}

void Upkeep::deliver_due() {
    while (queries::deliver_due(*session_) > 0)
        if (stop_.requested())
            return;
    due_delivered_ = true;
}

void Upkeep::look_for_redrive() {
    std::vector<Lane *> all;
    {
        const std::lock_guard lock(guard_);
        for (Lane &lane : lanes_)
            if (lane.held)
                all.push_back(&lane);
    }
    for (Lane *lane : all)
        if (!lane->redrive_seen)
            lane->redrive_seen =
                queries::redrive_waiting(*session_, lane->number, lane->redrive_covered);
}

void Upkeep::sweep() {
    queries::sweep(*session_);
}

} // namespace once::outbox
