// `once-relay status`: what the database knows of each lane and, when brokers are given, what Kafka
// holds.
#pragma once

namespace once {

struct Options;

// Prints a table (or JSON); returns an ExitCode as int, throws Refusal.
int status(const Options &options);

} // namespace once
