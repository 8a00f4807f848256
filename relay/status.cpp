#include "relay/status.hpp"
#include "relay/exit_code.hpp"
namespace once {
int status(const Options &) {
    throw Refusal(ExitCode::usage, "command \"status\" is not part of this build");
}
} // namespace once
