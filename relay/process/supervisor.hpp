// Tells systemd (Type=notify) that the process is up, what it is doing, and that it is alive: the
// protocol of sd_notify(3), datagrams to the socket in NOTIFY_SOCKET. Without that variable nothing
// is done.
//
// Ready is the process, not each lane: a relay whose database is away is a running relay that waits
// for it. STATUS says so, as /readyz does.
#pragma once

#include "relay/process/metrics.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace once {

class StopSignal;

// Pure part: what is told now. No WATCHDOG where a thread does not come by any more: systemd ends
// the process then (WatchdogSec=).
std::string notification(const Metrics &metrics, std::int64_t stale_ms, bool stopping);

class Supervisor {
  public:
    Supervisor(const Metrics &metrics, std::int64_t stale_ms, const StopSignal &stop);
    ~Supervisor();
    Supervisor(const Supervisor &) = delete;
    Supervisor &operator=(const Supervisor &) = delete;

  private:
    void run();

    const Metrics &metrics_;
    const std::int64_t stale_ms_;
    const StopSignal &stop_;
    std::string socket_; // empty: nobody asked
    std::chrono::milliseconds period_{0};
    std::mutex guard_;
    std::condition_variable changed_;
    bool over_ = false;
    std::thread thread_;
};

} // namespace once
