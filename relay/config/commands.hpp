// The commands and the flags that are no options: the one list behind parsing, help, man page and
// completion.
#pragma once

#include "relay/config/settings.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace once::config {

struct CommandEntry {
    std::string_view name;
    std::optional<Command> command; // none: answered by the command line itself
    std::string_view takes;         // "" or what may follow, with | between
    std::string_view help;          // one line
    bool needs_word = false;        // one of what it takes must follow
};

inline constexpr CommandEntry kCommandTable[] = {
    {"outbox", Command::outbox, "",
     "ship committed events to Kafka; a second one on a lane waits as a standby"},
    {"inbox", Command::inbox, "",
     "apply the messages of the configured [[inbox]] topics in the database"},
    {"status", Command::status, "",
     "lanes, backlog, positions, parked keys, what holds back trimming"},
    {"check", Command::check, "outbox|inbox",
     "prove before going live: versions, privileges, topics, ACLs; of one side, or of both"},
    {"dead", Command::dead, "list|show|redrive",
     "events that Kafka refused, and what waits behind them: look, or ask for them to be shipped",
     true},
    {"lag", Command::lag, "", "per lane: events that wait, how long, and who ships them"},
    {"peek", Command::peek, "", "events that wait, as of the relay's last report"},
    {"tail", Command::tail, "",
     "follow what read_committed readers of Kafka see from now on, of --topic or of all topics"},
    {"init", Command::init, "",
     "write the file of --config with every option in it; print the SQL of role and rights"},
    {"print-config", Command::print_config, "",
     "effective configuration with the origin of each value, without secrets"},
    {"help", std::nullopt, "man|markdown",
     "this text; as a man page, or as Markdown with every option"},
    {"completion", std::nullopt, "bash|zsh|fish", "completion of the command line for a shell",
     true},
    {"version", std::nullopt, "", "version of this program and of its libraries"},
};

struct FlagEntry {
    std::string_view flag;
    std::string_view takes;
    std::string_view commands; // with | between; empty: all
    std::string_view help;
};

inline constexpr FlagEntry kFlagTable[] = {
    {"--config", "FILE", "", "TOML file (environment: ONCE_CONFIG)"},
    {"--set", "KEY=VALUE", "", "any option below; kafka.X=Y hands a setting to librdkafka"},
    {"--until-empty", "", "outbox|inbox", "drain what is there, then end with 0"},
    {"--json", "", "status|check|dead|lag|peek|tail", "for machines"},
    {"--dry-run", "", "dead|init", "what would be done; nothing is changed"},
    {"--topic", "TOPIC", "dead|peek|tail", "events of this topic"},
    {"--key", "KEY", "dead|peek|tail", "events of this key"},
    {"--no-key", "", "dead|peek|tail", "events without a key"},
    {"--id", "UUID", "dead|peek", "the event with this id"},
    {"--all", "", "dead", "every event"},
    {"--limit", "N", "dead|peek|tail", "as many at most; default 100, tail: no end"},
    {"--help", "", "", "this text"},
    {"--version", "", "", "version of this program and of its libraries"},
};

// "status, check: for machines"
std::string text_of(const FlagEntry &flag);

// "outbox|inbox" in words: "outbox and inbox"
std::string in_words(std::string_view choices, std::string_view last);

} // namespace once::config
