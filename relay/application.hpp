// From the command line to an exit code: parses, chooses the command, runs it, turns what it throws
// into words.
#pragma once

namespace once {

int run_application(int argc, const char *const *argv);

} // namespace once
