#include "relay/process/stop_signal.hpp"

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <poll.h>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

namespace once {

namespace {

std::atomic<StopSignal *> listener{nullptr};

// Only async-signal-safe calls: atomics, clock_gettime, write(2), _exit. Not raise(): the kernel
// does not end PID 1, which a container's only process is, by a signal's default.
extern "C" void on_stop_signal(int number) {
    const int saved = errno;
    StopSignal *target = listener.load();
    if (target == nullptr || target->requested())
        ::_exit(128 + number);
    target->request();
    errno = saved;
}

} // namespace

StopSignal::StopSignal() : event_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (event_fd_ < 0)
        throw std::system_error(errno, std::generic_category(), "could not create an eventfd");
}

StopSignal::~StopSignal() {
    StopSignal *self = this;
    listener.compare_exchange_strong(self, nullptr);
    ::close(event_fd_);
}

void StopSignal::listen_to_signals() {
    listener = this;
    struct sigaction action {};
    action.sa_handler = on_stop_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (int number : {SIGTERM, SIGINT})
        sigaction(number, &action, nullptr);
    std::signal(SIGHUP, SIG_IGN);
}

void StopSignal::request() noexcept {
    std::chrono::steady_clock::rep never = 0;
    requested_at_.compare_exchange_strong(
        never, std::chrono::steady_clock::now().time_since_epoch().count());
    flag_.store(true, std::memory_order_release);
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(event_fd_, &one, sizeof one);
}

bool StopSignal::wait_for(std::chrono::milliseconds limit) const noexcept {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!requested()) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0)
            break;
        pollfd wanted{event_fd_, POLLIN, 0};
        ::poll(&wanted, 1, static_cast<int>(left.count()));
    }
    return requested();
}

} // namespace once
