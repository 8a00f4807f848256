// SIGTERM, SIGINT and SIGHUP as a flag and as a file descriptor that becomes readable: for loops,
// poll() and sleeps.
#pragma once

#include <atomic>
#include <chrono>

namespace once {

class StopSignal {
  public:
    StopSignal();
    ~StopSignal();
    StopSignal(const StopSignal &) = delete;
    StopSignal &operator=(const StopSignal &) = delete;

    // From main, once: SIGTERM, SIGINT and SIGHUP request the stop; a second one ends the process
    // at once (nothing is lost: everything here survives a crash). SIGPIPE is ignored.
    void listen_to_signals();

    // From any thread or a handler.
    void request() noexcept;
    bool requested() const noexcept { return flag_.load(std::memory_order_relaxed); }

    // Readable as soon as a stop is requested, and ever after. Only poll it, never read it.
    int fd() const noexcept { return event_fd_; }

    // Sleeps at most so long; true = stop requested.
    bool wait_for(std::chrono::milliseconds limit) const noexcept;

  private:
    std::atomic<bool> flag_{false};
    int event_fd_;
};

} // namespace once
