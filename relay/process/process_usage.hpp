// What this process uses, from /proc/self: the numbers that Prometheus' own clients export.
#pragma once

namespace once {

struct ProcessUsage {
    double cpu_seconds = 0;    // user and system, since the start
    double start_time = 0;     // seconds since 1970
    double resident_bytes = 0; // in memory
    double virtual_bytes = 0;  // addressed
    double open_fds = 0;       // descriptors
    double max_fds = 0;        // the soft limit of them
    double threads = 0;
};

// What /proc does not tell stays 0.
ProcessUsage process_usage();

} // namespace once
