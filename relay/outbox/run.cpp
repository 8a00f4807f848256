#include "relay/outbox/run.hpp"

#include "relay/exit_code.hpp"

namespace once::outbox {

int run(const Options &, Metrics &, StopSignal &) {
    throw Refusal(ExitCode::usage, "command \"outbox\" is not part of this build");
}

} // namespace once::outbox
