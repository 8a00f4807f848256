// ONCE_… variables. One that begins like an option and is none is an error: a misspelt limit must
// not be silent.
#include "relay/config/kafka_settings.hpp"
#include "relay/config/nearest.hpp"
#include "relay/config/settings.hpp"
#include "relay/config/table.hpp"
#include "relay/process/exit_code.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <utility>

namespace once::config {

namespace {

constexpr std::string_view kSections[] = {"ONCE_DATABASE", "ONCE_BROKERS", "ONCE_OUTBOX_",
                                          "ONCE_INBOX_",   "ONCE_HTTP_",   "ONCE_LOG_",
                                          "ONCE_KAFKA_"};
constexpr std::string_view kKafkaSection = "ONCE_KAFKA_";
constexpr std::string_view kInboxSection = "ONCE_INBOX_";
constexpr std::string_view kFile = "_FILE";

// ONCE_KAFKA_SASL_PASSWORD → kafka.sasl.password: the property whose name is spelt so.
std::optional<std::string> kafka_key(std::string_view name) {
    for (const std::string &property : kafka_property_names())
        if (environment_name("kafka." + property) == name)
            return "kafka." + property;
    return std::nullopt;
}

// ONCE_INBOX_1_ID_HEADER → inbox.1.id_header
std::optional<std::string> inbox_key(std::string_view name) {
    const std::string_view rest = name.substr(kInboxSection.size());
    const std::size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
    const std::string number(rest.substr(0, digits));
    for (const auto &entry : inbox_table())
        if (const std::string key = "inbox." + number + "." + std::string(entry.key);
            environment_name(key) == name)
            return key;
    return std::nullopt;
}

std::optional<std::string> key_of(std::string_view name) {
    for (const auto &entry : option_table())
        if (environment_name(entry.key) == name)
            return std::string(entry.key);
    if (name.starts_with(kInboxSection))
        return inbox_key(name);
    return name.starts_with(kKafkaSection) ? kafka_key(name) : std::nullopt;
}

// Of inbox.10.topic 10, of other keys 0.
std::size_t table_number(std::string_view key) {
    std::size_t number = 0;
    if (key.starts_with("inbox."))
        std::from_chars(key.data() + 6, key.data() + key.size(), number);
    return number;
}

[[noreturn]] void refuse_variable(const std::string &name) {
    std::vector<std::string> names;
    for (const std::string &key : known_keys())
        names.push_back(environment_name(key));
    if (name.starts_with(kKafkaSection))
        for (const std::string &property : kafka_property_names())
            names.push_back(environment_name("kafka." + property));
    throw Refusal(ExitCode::configuration, "unknown option (environment " + name + ")", {},
                  did_you_mean(name, names, "See once-relay --help for the names."));
}

// ONCE_DATABASE_FILE=/run/secrets/database: the value stands in the file, so that no list of the
// environment shows it. An editor's newline at its end is no part of it.
std::string first_line(const std::string &path, const std::string &origin) {
    std::ifstream file(path);
    std::string line, more;
    if (!file || !std::getline(file, line))
        throw Refusal(ExitCode::configuration,
                      "could not read file \"" + path + "\" (" + origin + ")",
                      file ? "The file is empty." : "It is not there, or may not be read.",
                      "The file holds the value of the option, one line.");
    if (std::getline(file, more))
        throw Refusal(ExitCode::configuration, "cannot use file \"" + path + "\" (" + origin + ")",
                      "It has more than one line.",
                      "The file holds the value of the option, one line.");
    return line;
}

} // namespace

void read_environment(Settings &settings, const std::vector<std::string> &environment) {
    std::vector<Assignment> found;
    for (const std::string &variable : environment) {
        const std::size_t equals = variable.find('=');
        const std::string name = variable.substr(0, equals);
        if (equals == std::string::npos ||
            std::none_of(std::begin(kSections), std::end(kSections),
                         [&](std::string_view section) { return name.starts_with(section); }))
            continue;
        const std::string value = variable.substr(equals + 1);
        const std::string origin = "environment " + name;
        if (const std::optional<std::string> key = key_of(name))
            found.push_back({*key, value, origin});
        else if (const auto named =
                     name.ends_with(kFile)
                         ? key_of(std::string_view(name).substr(0, name.size() - kFile.size()))
                         : std::nullopt)
            found.push_back({*named, first_line(value, origin), origin});
        else
            refuse_variable(name);
    }
    // The tables in order of their numbers: each one must be the next.
    std::sort(found.begin(), found.end(), [](const Assignment &a, const Assignment &b) {
        return std::pair(table_number(a.key), a.key) < std::pair(table_number(b.key), b.key);
    });
    for (const Assignment &assignment : found)
        assign(settings, assignment);
}

} // namespace once::config
