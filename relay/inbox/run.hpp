// The inbox: applies messages of Kafka topics in the database exactly once, until asked to stop.
#pragma once

namespace once {
struct Options;
class Metrics;
class StopSignal;
} // namespace once

namespace once::inbox {

// Returns an ExitCode as int; throws Refusal.
int run(const Options &options, Metrics &metrics, StopSignal &stop);

} // namespace once::inbox
