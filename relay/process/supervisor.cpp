#include "relay/process/supervisor.hpp"

#include "relay/process/one_line.hpp"
#include "relay/process/stop_signal.hpp"
#include "relay/process/whole_number.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace once {

namespace {

constexpr std::chrono::milliseconds kLongestPeriod{1000};

// Does not wait: a supervisor that does not read misses a line.
void send_to(const std::string &path, const std::string &text) noexcept {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path))
        return;
    std::memcpy(address.sun_path, path.data(), path.size());
    if (path.front() == '@') // a name without a file
        address.sun_path[0] = '\0';
    const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (socket < 0)
        return;
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    (void)::sendto(socket, text.data(), text.size(), MSG_NOSIGNAL,
                   reinterpret_cast<const sockaddr *>(&address), size);
    ::close(socket);
}

std::string variable(const char *name) {
    const char *value = std::getenv(name);
    return value == nullptr ? "" : value;
}

// A third of the time after which systemd takes us for dead; set for another process: not for us.
std::chrono::milliseconds period() {
    const auto watchdog_us = whole_number<std::int64_t>(variable("WATCHDOG_USEC"));
    const std::string pid = variable("WATCHDOG_PID");
    if (!watchdog_us || *watchdog_us <= 0 || (!pid.empty() && pid != std::to_string(::getpid())))
        return kLongestPeriod;
    return std::clamp(std::chrono::milliseconds(*watchdog_us / 3000), std::chrono::milliseconds(1),
                      kLongestPeriod);
}

} // namespace

std::string notification(const Metrics &metrics, std::int64_t stale_ms, bool stopping) {
    const Health ready = metrics.progressing(stale_ms);
    std::string text = stopping ? "STOPPING=1\n" : "READY=1\n";
    if (metrics.alive(stale_ms).good)
        text += "WATCHDOG=1\n";
    return text + "STATUS=" +
           (stopping     ? "stopping"
            : ready.good ? "ready"
                         : bounded(ready.reason)) +
           "\n";
}

Supervisor::Supervisor(const Metrics &metrics, std::int64_t stale_ms, const StopSignal &stop)
    : metrics_(metrics), stale_ms_(stale_ms), stop_(stop), socket_(variable("NOTIFY_SOCKET")),
      period_(period()) {
    if (!socket_.empty())
        thread_ = std::thread([this] { run(); });
}

Supervisor::~Supervisor() {
    if (!thread_.joinable())
        return;
    {
        const std::lock_guard lock(guard_);
        over_ = true;
    }
    changed_.notify_all();
    thread_.join();
    send_to(socket_, notification(metrics_, stale_ms_, true));
}

void Supervisor::run() {
    std::unique_lock lock(guard_);
    while (!over_) {
        send_to(socket_, notification(metrics_, stale_ms_, stop_.requested()));
        changed_.wait_for(lock, period_, [this] { return over_; });
    }
}

} // namespace once
