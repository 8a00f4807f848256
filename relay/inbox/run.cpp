#include "relay/inbox/run.hpp"

#include "relay/exit_code.hpp"

namespace once::inbox {

int run(const Options &, Metrics &, StopSignal &) {
    throw Refusal(ExitCode::usage, "command \"inbox\" is not part of this build");
}

} // namespace once::inbox
