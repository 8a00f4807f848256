#include "relay/check.hpp"
#include "relay/exit_code.hpp"
namespace once {
int check(const Options &, CheckScope) {
    throw Refusal(ExitCode::usage, "command \"check\" is not part of this build");
}
} // namespace once
