// SIGTERM and SIGINT as a flag and as a file descriptor that becomes readable: for loops, poll()
// and sleeps.
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

    // From main, once: SIGTERM and SIGINT request the stop; a second one ends the process at once
    // with 128 + its number (nothing is lost: everything here survives a crash). SIGHUP is ignored:
    // a terminal that goes, or a log rotation, is no reason to end.
    void listen_to_signals();

    // From any thread or a handler.
    void request() noexcept;
    bool requested() const noexcept { return flag_.load(std::memory_order_acquire); }
    // Of the first request; only where there is one.
    std::chrono::steady_clock::time_point requested_at() const noexcept {
        return std::chrono::steady_clock::time_point(
            std::chrono::steady_clock::duration(requested_at_.load()));
    }

    // Readable as soon as a stop is requested, and ever after. Only poll it, never read it.
    int fd() const noexcept { return event_fd_; }

    // Sleeps at most so long; true = stop requested.
    bool wait_for(std::chrono::milliseconds limit) const noexcept;

  private:
    std::atomic<bool> flag_{false};
    std::atomic<std::chrono::steady_clock::rep> requested_at_{0};
    int event_fd_;
};

} // namespace once
