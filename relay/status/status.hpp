// `once-relay status`: what the database knows of each lane and, when brokers are given, what Kafka
// holds.
#pragma once

namespace once {

struct Options;

// Prints a table (or JSON); returns an ExitCode as int, throws Refusal. Where no broker answers,
// what the database knows is printed before that.
int status(const Options &options);

} // namespace once
