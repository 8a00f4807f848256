// `once-relay check`: proves before going live what would otherwise be found out at night.
#pragma once

#include <string>

namespace once {

struct Options;

struct CheckScope {
    bool outbox = true;
    bool inbox = true;     // only what is configured in [[inbox]]
    std::string open_file; // configuration with a secret that everybody may read
};

// Prints one line per finding (or JSON); 0 when none is an error, else the fitting ExitCode.
int check(const Options &options, const CheckScope &scope);

} // namespace once
