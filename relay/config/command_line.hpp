// The command line: which command, which file, and the values given by flags.
#pragma once

#include "relay/config/settings.hpp"
#include "relay/request.hpp"

#include <optional>
#include <string>
#include <vector>

namespace once::config {

struct CommandLine {
    std::optional<Command> command;
    std::string document; // to print and end: "help", "man", "markdown", "bash", "zsh", "fish"
    bool version = false;
    bool crash_points = false; // hidden: names for the tests
    bool json = false;
    bool until_empty = false;
    bool check_outbox = true; // `check inbox` leaves it out
    bool check_inbox = true;  // `check outbox` leaves it out
    std::string file;         // --config, else ONCE_CONFIG
    std::vector<Assignment> assignments;
    Request request; // of a command that looks or acts
};

// Throws Refusal (usage).
CommandLine parse_command_line(int argc, const char *const *argv);

// Default → file → environment → flags, validated for the command. Throws Refusal (usage for flags,
// else configuration).
Settings load(const CommandLine &command_line, const std::vector<std::string> &environment);

} // namespace once::config
