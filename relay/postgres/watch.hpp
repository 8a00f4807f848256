// The end of ours to waits that libpqxx and libpq begin without one. While a Guard lives, a thread
// of the process looks at the clock and at the stop signal; when the time is over it shuts the
// socket down, and the call that waits for the server returns with a lost connection.
#pragma once

#include "relay/process/stop_signal.hpp"

#include <chrono>
#include <list>
#include <memory>

#include <libpq-fe.h>

namespace once::postgres {

class Watch {
  public:
    using Clock = std::chrono::steady_clock;

    // One for the process, with its thread; never destroyed.
    static Watch &of_process();

    struct Entry {
        int socket;
        Clock::time_point begun, until;
        const StopSignal *stop;
        bool cut = false;
    };

    class Guard {
      public:
        // `stop` may be null. A guarded call that still runs kStopGrace after the stop signal (or
        // after its own begin, whatever is later) is ended too.
        Guard(int socket, std::chrono::milliseconds limit, const StopSignal *stop);
        ~Guard();
        Guard(const Guard &) = delete;
        Guard &operator=(const Guard &) = delete;
        // Whether the watch ended the wait.
        bool cut() const;

      private:
        std::list<Entry>::iterator place_;
    };

  private:
    struct State;
    Watch();
    void run();

    std::unique_ptr<State> state_;
};

// A statement under way when the process is asked to stop has so long.
inline constexpr std::chrono::milliseconds kStopGrace{3000};

} // namespace once::postgres
