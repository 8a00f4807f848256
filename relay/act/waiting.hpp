// `once-relay lag` and `peek`: what is not shipped yet, as of the relay's last report.
#pragma once

namespace once {

struct Options;
struct Request;

// Print; return an ExitCode as int, throw Refusal.
int lag(const Options &options);
int peek(const Options &options, const Request &request);

} // namespace once
