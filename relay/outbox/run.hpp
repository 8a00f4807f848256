// The outbox: ships what committed on the lanes to Kafka until asked to stop or, with until_empty,
// drained.
#pragma once

namespace once {
struct Options;
class Metrics;
class StopSignal;
} // namespace once

namespace once::outbox {

// Returns an ExitCode as int; throws Refusal.
int run(const Options &options, Metrics &metrics, StopSignal &stop);

} // namespace once::outbox
