#include "relay/process/process_usage.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <sys/resource.h>
#include <unistd.h>

namespace once {

namespace {

// Seconds since 1970 at which the kernel booted.
double boot_time() {
    std::ifstream stat("/proc/stat");
    for (std::string word; stat >> word;)
        if (double seconds = 0; word == "btime" && stat >> seconds)
            return seconds;
    return 0;
}

// Fields 14, 15, 20, 22, 23, 24 of proc_pid_stat(5). The name in field 2 may hold spaces and
// brackets, so counting starts behind the last bracket.
void read_stat(ProcessUsage &usage) {
    std::ifstream file("/proc/self/stat");
    std::string line;
    std::getline(file, line);
    const std::size_t name_end = line.rfind(')');
    if (name_end == std::string::npos)
        return;
    std::istringstream fields(line.substr(name_end + 1));
    const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    std::string word;
    for (int field = 3; fields >> word; ++field) {
        const double value = field == 3 ? 0 : std::strtod(word.c_str(), nullptr);
        if (field == 14 || field == 15)
            usage.cpu_seconds += value / ticks;
        else if (field == 20)
            usage.threads = value;
        else if (field == 22)
            usage.start_time = boot_time() + value / ticks;
        else if (field == 23)
            usage.virtual_bytes = value;
        else if (field == 24)
            usage.resident_bytes = value * static_cast<double>(sysconf(_SC_PAGESIZE));
    }
}

} // namespace

ProcessUsage process_usage() {
    ProcessUsage usage;
    read_stat(usage);
    std::error_code failed;
    for (std::filesystem::directory_iterator fd("/proc/self/fd", failed), end; !failed && fd != end;
         fd.increment(failed))
        usage.open_fds += 1;
    if (rlimit limit{}; getrlimit(RLIMIT_NOFILE, &limit) == 0)
        usage.max_fds = static_cast<double>(limit.rlim_cur);
    return usage;
}

} // namespace once
