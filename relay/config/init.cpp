#include "relay/config/init.hpp"

#include "relay/config/table.hpp"
#include "relay/process/exit_code.hpp"

#include <cstring>
#include <memory>

#include <fcntl.h>
#include <libpq-fe.h>
#include <unistd.h>

namespace once::config {

namespace {

constexpr std::size_t kWidth = 100;

std::string comment(std::string_view text) {
    std::string lines, line = "#";
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        if (line.size() + 1 + end - at > kWidth) {
            lines += line + "\n";
            line = "#";
        }
        line.append(" ").append(text.substr(at, end - at));
        at = end + 1;
    }
    return lines + line + "\n";
}

template <typename Owner>
std::string option(const Settings &settings, const Entry<Owner> &entry, const Owner &owner,
                   const std::string &prefix, std::string_view name, bool shown) {
    const bool given = settings.origin.contains(prefix + std::string(entry.key));
    return comment(std::string(entry.help) + " (" + type_of(entry) + ")") +
           (given || shown ? "" : "#") + std::string(name) + " = " + toml_value(entry, owner) +
           "\n";
}

std::string user_of(const std::string &conninfo) {
    const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> parsed(
        PQconninfoParse(conninfo.c_str(), nullptr), &PQconninfoFree);
    for (const PQconninfoOption *option = parsed.get();
         option != nullptr && option->keyword != nullptr; ++option)
        if (std::strcmp(option->keyword, "user") == 0 && option->val != nullptr)
            return option->val;
    return "once_relay";
}

std::string quoted(const std::string &text, char quote) {
    std::string out(1, quote);
    for (const char c : text)
        out.append(c == quote ? 2 : 1, c);
    return out + quote;
}

std::string inboxes(const Settings &settings) {
    if (settings.options.inbox.empty()) {
        std::string text = "\n# What Kafka brings goes into the database by [[inbox]] tables, one "
                           "for each group of topics.\n#[[inbox]]\n";
        InboxOptions example;
        example.topic = "orders";
        example.group = "billing";
        example.handler = "billing.apply";
        for (const Entry<InboxOptions> &entry : inbox_table())
            text += option(settings, entry, example, "inbox.1.", entry.key, false);
        return text;
    }
    std::string text;
    for (std::size_t index = 0; index < settings.options.inbox.size(); ++index) {
        text += "\n[[inbox]]\n";
        const std::string prefix = "inbox." + std::to_string(index + 1) + ".";
        for (const Entry<InboxOptions> &entry : inbox_table())
            text +=
                option(settings, entry, settings.options.inbox[index], prefix, entry.key, false);
    }
    return text;
}

} // namespace

std::string first_file(const Settings &settings) {
    std::string text = comment("once-relay " ONCE_VERSION ". A line that begins with # has the "
                               "default; `once-relay check` proves the rest before going live.");
    std::string section;
    for (const Entry<Options> &entry : option_table()) {
        const std::size_t dot = entry.key.find('.');
        const std::string own(dot == std::string_view::npos ? "" : entry.key.substr(0, dot));
        if (own != section)
            text += "\n[" + (section = own) + "]\n";
        text += option(settings, entry, settings.options, "",
                       own.empty() ? entry.key : entry.key.substr(dot + 1), own.empty());
    }
    text += "\n" + comment("Settings of librdkafka, as they are.") + "[kafka]\n";
    for (const auto &[name, value] : settings.options.kafka.passthrough)
        text += quote_toml(name) + " = " + quote_toml(value) + "\n";
    if (settings.options.kafka.passthrough.empty())
        text += "#\"security.protocol\" = \"ssl\"\n";
    return text + inboxes(settings);
}

std::string first_statements(const Settings &settings) {
    const std::string user = user_of(settings.options.database.conninfo);
    std::string text = "-- as a superuser, in the database of the events\n"
                       "CREATE EXTENSION IF NOT EXISTS pg_once;\n"
                       "CREATE ROLE " +
                       quoted(user, '"') + " LOGIN;\nSELECT once.grant_relay(" +
                       quoted(user, '\'') + ");\n";
    if (!settings.options.inbox.empty())
        text += "SELECT once.grant_consumer(" + quoted(user, '\'') + ");\n";
    return text + "-- for each role of an application that publishes, receives or operates:\n"
                  "-- SELECT once.grant_publisher('role');\n"
                  "-- SELECT once.grant_consumer('role');\n"
                  "-- SELECT once.grant_admin('role');\n";
}

void write_first_file(const std::string &path, const std::string &text) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        throw Refusal(ExitCode::configuration,
                      "could not create file \"" + path + "\": " + std::strerror(errno), {},
                      errno == EEXIST ? "init overwrites nothing: name another file, or see "
                                        "once-relay print-config."
                                      : "");
    std::size_t written = 0;
    while (written < text.size()) {
        const ssize_t more = ::write(file, text.data() + written, text.size() - written);
        if (more < 0 && errno == EINTR)
            continue;
        if (more < 0)
            break;
        written += static_cast<std::size_t>(more);
    }
    const int problem = written < text.size() ? errno : 0;
    if (::close(file) != 0 || problem != 0) {
        ::unlink(path.c_str());
        throw Refusal(ExitCode::configuration, "could not write file \"" + path + "\": " +
                                                   std::strerror(problem != 0 ? problem : errno));
    }
}

} // namespace once::config
