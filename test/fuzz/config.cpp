// Configuration: a file, environment and words, with a line `%%` between them; variables and words
// are a line each. What a file may name (passfile, certificates) is never opened here.
#include "relay/config/command_line.hpp"
#include "relay/config/kafka_settings.hpp"
#include "relay/process/exit_code.hpp"

#include "test/fuzz/target.hpp"

using namespace once;
using namespace once::config;
using fuzz::hold;

namespace {

std::vector<std::string> split(std::string_view text, std::string_view separator) {
    std::vector<std::string> parts;
    for (;;) {
        const std::size_t end = text.find(separator);
        parts.emplace_back(text.substr(0, end));
        if (end == text.npos)
            return parts;
        text.remove_prefix(end + separator.size());
    }
}

// A refusal says something, with the code it belongs to.
template <typename Function> bool accepted(Function &&function) {
    try {
        function();
        return true;
    } catch (const Refusal &refusal) {
        hold(refusal.code == ExitCode::configuration || refusal.code == ExitCode::usage,
             "its code");
        hold(!std::string_view(refusal.what()).empty(), "it says what");
        return false;
    }
}

// All that was set. Secrets are stars there, and a connection string that cannot be read is
// refused.
std::string shown(Settings settings) {
    settings.origin.clear();
    settings.options.database.conninfo.clear();
    std::erase_if(settings.options.kafka.passthrough,
                  [](const auto &setting) { return is_secret_kafka_setting(setting.first); });
    return print(settings);
}

bool read_words(Settings &settings, const std::vector<std::string> &words) {
    std::vector<const char *> argv{"once-relay", "print-config"};
    for (const std::string &word : words)
        argv.push_back(word.c_str());
    CommandLine line;
    if (!accepted([&] { line = parse_command_line(static_cast<int>(argv.size()), argv.data()); }))
        return false;
    for (const Assignment &assignment : line.assignments) {
        const std::string before = shown(settings);
        if (accepted([&] { assign(settings, assignment); }))
            continue;
        hold(shown(settings) == before, "a refused value leaves nothing behind");
        return false;
    }
    return true;
}

// print-config is a configuration: read again it says the same.
void print_and_read(const Settings &settings) {
    Settings again;
    read_toml(again, shown(settings), "printed");
    hold(shown(again) == shown(settings), "printed and read again");
}

void run(std::string_view input) {
    std::vector<std::string> parts = split(input, "\n%%\n");
    parts.resize(3);
    Settings settings;
    if (!accepted([&] { read_toml(settings, parts[0], "file"); }))
        return;
    const Settings of_file = settings;
    print_and_read(settings);
    const bool more =
        accepted([&] { read_environment(settings, split(parts[1], "\n")); }) &&
        read_words(settings, parts[2].empty() ? std::vector<std::string>() : split(parts[2], "\n"));
    if (!more)
        return;
    for (const auto &[key, origin] : of_file.origin)
        hold(settings.origin.contains(key), "later sources hide none");
    for (const Command command : {Command::outbox, Command::inbox, Command::print_config})
        accepted([&] { validate(settings, command); });
}

} // namespace

ONCE_FUZZ_TARGET("config", run)
