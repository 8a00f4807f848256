#include "relay/process/standard_error.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <mutex>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace once {
namespace {

std::atomic<std::uint64_t> dropped{0};

// A descriptor of our own, so that O_NONBLOCK is not set for whoever shares stderr with us. A pipe
// or terminal is opened once more; a file takes all that is written, and what cannot be opened
// again is asked before each write.
class Target {
  public:
    // Follows stderr where somebody has put another file in its place.
    void follow() {
        struct stat kind {};
        if (::fstat(STDERR_FILENO, &kind) != 0 || (kind.st_dev == device && kind.st_ino == inode))
            return;
        if (descriptor != STDERR_FILENO)
            ::close(std::exchange(descriptor, STDERR_FILENO));
        device = kind.st_dev;
        inode = kind.st_ino;
        socket = S_ISSOCK(kind.st_mode);
        if (!S_ISFIFO(kind.st_mode) && !S_ISCHR(kind.st_mode))
            return;
        const int own = ::open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (own >= 0)
            descriptor = own;
    }

    ssize_t write(std::string_view text) const {
        if (socket)
            return ::send(descriptor, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        pollfd ready{descriptor, POLLOUT, 0};
        if (::poll(&ready, 1, 0) == 0) {
            errno = EAGAIN;
            return -1;
        }
        return ::write(descriptor, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
    }

  private:
    int descriptor = STDERR_FILENO;
    bool socket = false;
    dev_t device = 0;
    ino_t inode = 0;
};

// Never destroyed: threads of libraries may write while the process ends.
std::mutex &guard = *new std::mutex;

Target &target = *new Target;

bool put(std::string_view text) {
    target.follow();
    while (!text.empty()) {
        const ssize_t written = target.write(text);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return errno != EAGAIN && errno != EWOULDBLOCK; // nobody is there: nothing to tell
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
}

} // namespace

void write_standard_error(std::string_view text) noexcept {
    const std::lock_guard lock(guard);
    if (!put(text))
        dropped.fetch_add(1, std::memory_order_relaxed);
}

std::uint64_t dropped_texts() noexcept {
    return dropped.load(std::memory_order_relaxed);
}

} // namespace once
