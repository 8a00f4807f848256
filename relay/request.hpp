// What a command that looks or acts is asked for, beside the options: the words and flags behind
// it.
#pragma once

#include <optional>
#include <string>

namespace once {

struct Request {
    std::string action; // the word behind the command: "list", "show", "redrive"
    std::optional<std::string> topic;
    std::optional<std::string> key;
    std::optional<std::string> id;
    bool no_key = false; // events without a key
    bool all = false;
    std::optional<int> limit; // default 100; tail: none
    bool dry_run = false;     // does it, tells what it came to, and rolls back
};

} // namespace once
