// What the extension needs done now and then while a relay runs: generations are turned, events
// that waited for their time are moved into their lanes, parked ones that an operator wants are
// noticed. None of it is delivery, so it has one session of its own for all lanes of the process:
// what waits for somebody's lock, or fails, is logged (`upkeep_failed`) and tried later, and
// delivery goes on.
#pragma once

#include "relay/options.hpp"
#include "relay/postgres/session.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace once {
class StopSignal;
}

namespace once::outbox {

class Upkeep {
  public:
    // What a lane of this process tells it and hears of it.
    struct Lane {
        explicit Lane(int lane) : number(lane) {}
        const int number;
        std::atomic<bool> held{false}; // only who ships does upkeep, a standby does not
        std::atomic<std::int64_t> redrive_covered{0};
        std::atomic<bool> redrive_seen{true}; // something may be there to redrive
    };

    Upkeep(const Options &options, const StopSignal &stop);
    ~Upkeep();
    Upkeep(const Upkeep &) = delete;
    Upkeep &operator=(const Upkeep &) = delete;

    // Valid as long as this lives.
    Lane &lane(int number);
    // Whatever was due when the first lane was held is in its lane by now.
    bool due_delivered() const { return due_delivered_; }

  private:
    using Clock = std::chrono::steady_clock;
    struct Chore {
        const char *name;
        void (Upkeep::*act)();
        std::chrono::milliseconds pause;
        Clock::time_point next{};
    };

    void run(); // the thread
    void run_due();
    void perform(Chore &chore);
    void failed(const char *chore, const std::string &why);
    void deliver_due();
    void look_for_redrive();
    void sweep();
    bool any_held() const;

    const Options &options_;
    const StopSignal &stop_;
    mutable std::mutex guard_;
    std::condition_variable wake_;
    bool quit_ = false;
    std::list<Lane> lanes_;
    std::atomic<bool> due_delivered_{false};

    // The thread's own.
    std::unique_ptr<postgres::Session> session_;
    std::list<Chore> chores_;
    std::thread thread_; // last: starts when everything above stands
};

} // namespace once::outbox
