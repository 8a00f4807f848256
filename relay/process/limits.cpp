#include "relay/process/limits.hpp"

#include "relay/process/log.hpp"

#include <sys/resource.h>

namespace once {
namespace {

// Counted with one broker: clients' sockets and pipes, sessions, and what the process has itself.
constexpr std::size_t kOfALane = 23;
constexpr std::size_t kOfAMember = 12;
constexpr std::size_t kOfTheProcess = 64;

} // namespace

void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

void require_descriptors(std::size_t lanes, std::size_t members) {
    rlimit limit{};
    const std::size_t needed = lanes * kOfALane + members * kOfAMember + kOfTheProcess;
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
        return;
    log::warning("descriptors_short",
                 {{"needed", needed},
                  {"limit", limit.rlim_cur},
                  {"hint", "raise the limit of open files (ulimit -n, LimitNOFILE=), or run fewer "
                           "lanes"}});
}

} // namespace once
