// `once-relay tail`: follows what read_committed readers of Kafka see from now on.
#pragma once

namespace once {

struct Options;
struct Request;

// Prints a line for each message until --limit, a signal or the end of its reader; returns an
// ExitCode as int, throws Refusal.
int tail(const Options &options, const Request &request);

} // namespace once
