// Why the program ends: the numbers scripts and supervisors rely on, and the exception that carries
// one to main.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace once {

enum class ExitCode : int {
    stopped = 0,       // asked to stop, drained, or nothing to complain about
    usage = 1,         // unknown command or option: the command line is wrong
    configuration = 2, // a value in file, environment or flags cannot be used
    mismatch = 3,      // extension missing or of another protocol than this program
    database = 4,      // PostgreSQL: not reachable, not allowed, wrong kind of server
    kafka = 5,         // Kafka: not reachable, not allowed, refuses an event (on_poison = stop)
    refused = 6,       // another history, a lost position, settings that break the guarantee
    bug = 70,          // ours
};

struct ExitCodeEntry {
    ExitCode code;
    const char *meaning;
};

// For help, man page and documentation.
inline constexpr ExitCodeEntry kExitCodes[] = {
    {ExitCode::stopped, "asked to stop, drained, or nothing to complain about"},
    {ExitCode::usage, "unknown command or option: the command line is wrong"},
    {ExitCode::configuration, "a value in file, environment or flags cannot be used"},
    {ExitCode::mismatch, "the extension is missing or speaks another protocol"},
    {ExitCode::database, "PostgreSQL: not reachable, not allowed, wrong kind of server"},
    {ExitCode::kafka, "Kafka: not reachable, not allowed, refuses an event"},
    {ExitCode::refused, "refused: history changed or position lost; an operator decides"},
    {ExitCode::bug, "a bug"},
};

// One clear line for a person: message = what and why, detail = facts, hint = what to do. Messages
// are lower case without a period; detail and hint are sentences.
struct Refusal : std::runtime_error {
    Refusal(ExitCode why, const std::string &message, std::string detail_text = {},
            std::string hint_text = {})
        : std::runtime_error(message), code(why), detail(std::move(detail_text)),
          hint(std::move(hint_text)) {}

    ExitCode code;
    std::string detail;
    std::string hint;
    bool told = false;
};

// Prints it, up to three lines on stderr, unless it was told before.
void tell(Refusal &refusal);

inline constexpr const char *kDatabaseHint =
    "Check the option \"database\", that the server runs and that the role may connect; once-relay "
    "check says more.";

} // namespace once
