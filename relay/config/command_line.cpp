#include "relay/config/command_line.hpp"

#include "relay/config/commands.hpp"
#include "relay/config/nearest.hpp"
#include "relay/config/table.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/whole_number.hpp"

#include <algorithm>
#include <map>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

namespace once::config {

namespace {

constexpr std::string_view kSeeHelp = "See once-relay --help.";

// CLI11 owns the splitting of words; meaning and texts are ours.
struct Words {
    CLI::App app{"once-relay"};
    std::vector<CLI::App *> commands;
    std::vector<std::string> set;
    std::vector<std::string> what; // behind a command that takes a word
    bool help = false;
    // Of flags that belong to some commands: the value, or nothing behind it.
    std::map<std::string_view, std::string> given;
    std::vector<std::pair<const Entry<Options> *, std::vector<std::string>>> flags;

    explicit Words(CommandLine &into) {
        app.set_help_flag();
        app.add_flag("--help,-h", help);
        app.add_flag("--version,-V", into.version);
        app.add_flag("--crash-points", into.crash_points);
        for (const FlagEntry &flag : kFlagTable)
            if (flag.commands.empty())
                continue;
            else if (flag.takes.empty())
                app.add_flag_callback(std::string(flag.flag), [&] { given[flag.flag]; });
            else
                app.add_option_function<std::string>(
                       std::string(flag.flag),
                       [&](const std::string &value) { given[flag.flag] = value; })
                    ->expected(1)
                    ->allow_extra_args(false);
        app.add_option("--config,-c", into.file);
        app.add_option("--set", set)
            ->take_all()
            ->expected(1)
            ->allow_extra_args(false)
            ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
        for (const Entry<Options> &entry : option_table())
            if (!entry.flag.empty())
                flags.emplace_back(&entry, std::vector<std::string>());
        for (auto &[entry, values] : flags)
            app.add_option(std::string(entry->flag), values)
                ->expected(1)
                ->allow_extra_args(false) // the next word is not a second value
                ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
        app.allow_extras();
        for (const CommandEntry &known : kCommandTable) {
            CLI::App *sub = app.add_subcommand(std::string(known.name));
            sub->set_help_flag();
            sub->fallthrough()->allow_extras();
            if (!known.takes.empty())
                sub->add_option("what", what)->expected(0, 1);
            commands.push_back(sub);
        }
        app.require_subcommand(0, 1);
    }
};

std::vector<std::string> flag_names() {
    std::vector<std::string> names;
    for (const FlagEntry &entry : kFlagTable)
        names.emplace_back(entry.flag);
    for (const Entry<Options> &entry : option_table())
        if (!entry.flag.empty())
            names.emplace_back(entry.flag);
    return names;
}

// Not what follows =, : or @: a word in the wrong place may be a connection string.
std::string shown(const std::string &word) {
    return word.substr(0, word.find_first_of("=:@"));
}

[[noreturn]] void refuse_extra(const std::string &word, bool has_command) {
    if (word.starts_with('-'))
        throw Refusal(ExitCode::usage, "unknown option \"" + word.substr(0, word.find('=')) + "\"",
                      {}, did_you_mean(word.substr(0, word.find('=')), flag_names(), kSeeHelp));
    if (has_command)
        throw Refusal(ExitCode::usage, "unexpected argument \"" + shown(word) + "\"", {},
                      std::string(kSeeHelp));
    std::vector<std::string> names;
    for (const CommandEntry &known : kCommandTable)
        names.emplace_back(known.name);
    throw Refusal(ExitCode::usage, "unknown command \"" + shown(word) + "\"", {},
                  did_you_mean(word, names, kSeeHelp));
}

void collect_flags(const Words &words, CommandLine &into) {
    for (const auto &[entry, values] : words.flags) {
        if (values.empty())
            continue;
        std::string value = values.back();
        // Only a list is said several times: --lane 0 --lane 1.
        if (entry->key == "outbox.lanes") {
            value.clear();
            for (const std::string &one : values)
                value += (value.empty() ? "" : ",") + one;
        }
        into.assignments.push_back(
            {std::string(entry->key), value, "flag " + std::string(entry->flag)});
    }
    for (const std::string &word : words.set) {
        const std::size_t equals = word.find('=');
        if (equals == 0 || equals == std::string::npos)
            throw Refusal(ExitCode::usage, "cannot read \"--set\" without KEY=VALUE", {},
                          "For example: --set kafka.compression.type=lz4.");
        into.assignments.push_back({word.substr(0, equals), word.substr(equals + 1), "flag --set"});
    }
}

// The word behind a command: one of those that it takes, or nothing.
std::string chosen_word(const CommandEntry &command, const std::vector<std::string> &what) {
    if (what.empty())
        return "";
    const std::string allowed = "|" + std::string(command.takes) + "|";
    if (allowed.find("|" + what[0] + "|") == std::string::npos)
        throw Refusal(ExitCode::usage,
                      "cannot " + std::string(command.name) + " \"" + shown(what[0]) + "\"", {},
                      "After " + std::string(command.name) + " comes " +
                          std::string(command.takes) + ", or nothing.");
    return what[0];
}

void choose(const CommandEntry &command, const std::string &word, CommandLine &into) {
    into.command = command.command;
    if (command.command == Command::check && !word.empty()) {
        into.check_outbox = word == "outbox";
        into.check_inbox = word == "inbox";
    }
    if (command.name == "version")
        into.version = true;
    else if (command.name == "help")
        into.document = word.empty() ? "help" : word;
    else if (word.empty() && command.needs_word)
        throw Refusal(ExitCode::usage, "no word given after " + std::string(command.name), {},
                      "After " + std::string(command.name) + " comes " +
                          in_words(command.takes, " or ") + ".");
    else if (command.name == "completion")
        into.document = word;
    else
        into.request.action = word;
}

void refuse_misplaced(const CommandEntry &command, const Words &words) {
    for (const FlagEntry &flag : kFlagTable)
        if (words.given.contains(flag.flag) &&
            ("|" + std::string(flag.commands) + "|").find("|" + std::string(command.name) + "|") ==
                std::string::npos)
            throw Refusal(
                ExitCode::usage,
                "option \"" + std::string(flag.flag) + "\" belongs to " +
                    (flag.commands.find('|') == std::string_view::npos ? "command " : "commands ") +
                    in_words(flag.commands, " and "));
}

void collect_request(const Words &words, CommandLine &into) {
    const auto is_given = [&](std::string_view flag) { return words.given.contains(flag); };
    const auto value = [&](std::string_view flag) {
        const auto found = words.given.find(flag);
        return found == words.given.end() ? std::nullopt : std::optional(found->second);
    };
    into.json = is_given("--json");
    into.until_empty = is_given("--until-empty");
    Request &request = into.request;
    request.topic = value("--topic");
    request.key = value("--key");
    request.id = value("--id");
    request.no_key = is_given("--no-key");
    request.all = is_given("--all");
    request.dry_run = is_given("--dry-run");
    if (const auto limit = value("--limit")) {
        const auto number = whole_number<int>(*limit);
        if (!number || *number < 1)
            throw Refusal(ExitCode::usage, "cannot use " + quote_toml(*limit) + " for --limit",
                          "It takes an integer from 1 on.");
        request.limit = number;
    }
    if (request.key && request.no_key)
        throw Refusal(ExitCode::usage, "cannot use both --key and --no-key");
}

} // namespace

CommandLine parse_command_line(int argc, const char *const *argv) {
    CommandLine line;
    Words words(line);
    try {
        words.app.parse(argc, argv);
    } catch (const CLI::ArgumentMismatch &error) {
        const std::string what = error.what();
        throw Refusal(ExitCode::usage,
                      "option \"" + what.substr(0, what.find(':')) + "\" needs a value", {},
                      std::string(kSeeHelp));
    } catch (const CLI::ParseError &error) {
        std::string what = error.what();
        if (!what.empty() && what.front() >= 'A' && what.front() <= 'Z')
            what.front() = static_cast<char>(what.front() - 'A' + 'a');
        throw Refusal(ExitCode::usage, what, {}, std::string(kSeeHelp));
    }
    if (words.help)
        line.document = "help";
    if (words.help || line.version || line.crash_points)
        return line;
    const CommandEntry *command = nullptr;
    for (std::size_t i = 0; i < words.commands.size(); ++i)
        if (words.commands[i]->parsed())
            command = &kCommandTable[i];
    // First what is no option: the word behind it may be a secret, and is not repeated.
    if (const auto extra = words.app.remaining(true); !extra.empty())
        refuse_extra(extra.front(), command != nullptr);
    if (command == nullptr)
        throw Refusal(ExitCode::usage, "no command given", {}, std::string(kSeeHelp));
    choose(*command, chosen_word(*command, words.what), line);
    if (line.version || !line.document.empty())
        return line;
    refuse_misplaced(*command, words);
    collect_request(words, line);
    collect_flags(words, line);
    return line;
}

Settings load(const CommandLine &line, const std::vector<std::string> &environment) {
    Settings settings;
    std::string file = line.file;
    for (const std::string &variable : environment)
        if (file.empty() && variable.starts_with("ONCE_CONFIG="))
            file = variable.substr(variable.find('=') + 1);
    if (!file.empty() && line.command != Command::init)
        read_file(settings, file);
    read_environment(settings, environment);
    for (const Assignment &assignment : line.assignments)
        assign(settings, assignment);
    settings.options.until_empty = line.until_empty;
    settings.options.json = line.json;
    for (InboxOptions &inbox : settings.options.inbox)
        if (inbox.consumer.empty())
            inbox.consumer = inbox.group;
    validate(settings, *line.command);
    return settings;
}

} // namespace once::config
