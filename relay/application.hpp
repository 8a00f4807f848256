// From the command line to an exit code: parses, chooses the command, runs it, turns what it throws
// into words.
#pragma once

namespace once {

// Overwrites passwords in argv.
int run_application(int argc, char **argv);

} // namespace once
