// `once-relay dead`: events that Kafka refused, and those that wait behind one.
#pragma once

namespace once {

struct Options;
struct Request;

// Prints; returns an ExitCode as int, throws Refusal.
int dead(const Options &options, const Request &request);

} // namespace once
