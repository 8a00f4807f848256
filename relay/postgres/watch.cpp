#include "relay/postgres/watch.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include <sys/socket.h>

namespace once::postgres {
namespace {

// While somebody waits: how late a stop is heard. With nobody waiting for long the thread sleeps.
constexpr std::chrono::milliseconds kListen{500};

} // namespace

struct Watch::State {
    std::mutex guard;
    std::condition_variable changed;
    std::list<Entry> entries;
    bool asleep = false; // nobody waits: the next one has to wake the thread
};

Watch &Watch::of_process() {
    static Watch &only = *new Watch;
    return only;
}

Watch::Watch() : state_(std::make_unique<State>()) {
    std::thread([this] { run(); }).detach();
}

void Watch::run() {
    std::unique_lock lock(state_->guard);
    for (;;) {
        const auto now = Clock::now();
        auto next = now + std::chrono::hours(1);
        for (Entry &entry : state_->entries) {
            auto until = entry.until;
            if (entry.stop != nullptr && entry.stop->requested())
                until =
                    std::min(until, std::max(entry.begun, entry.stop->requested_at()) + kStopGrace);
            if (until <= now && !entry.cut) {
                entry.cut = true;
                ::shutdown(entry.socket, SHUT_RDWR);
            }
            if (!entry.cut)
                next = std::min({next, until, now + kListen});
        }
        state_->asleep = state_->entries.empty();
        if (state_->asleep)
            state_->changed.wait(lock, [this] { return !state_->asleep; });
        else
            state_->changed.wait_until(lock, next);
    }
}

Watch::Guard::Guard(int socket, std::chrono::milliseconds limit, const StopSignal *stop) {
    State &state = *of_process().state_;
    const auto now = Clock::now();
    const std::lock_guard lock(state.guard);
    place_ = state.entries.insert(state.entries.end(), {socket, now, now + limit, stop, false});
    if (state.asleep) {
        state.asleep = false;
        state.changed.notify_one();
    }
}

Watch::Guard::~Guard() {
    State &state = *of_process().state_;
    const std::lock_guard lock(state.guard);
    state.entries.erase(place_);
}

bool Watch::Guard::cut() const {
    const std::lock_guard lock(of_process().state_->guard);
    return place_->cut;
}

} // namespace once::postgres
