#include "relay/config/kafka_settings.hpp"
#include "relay/config/settings.hpp"
#include "relay/config/table.hpp"
#include "relay/process/exit_code.hpp"

#include <cstring>
#include <memory>
#include <sstream>

#include <libpq-fe.h>

namespace once::config {

namespace {

constexpr std::size_t kOriginColumn = 48;

// libpq's texts quote what they could not read; that may be a part of a password. Only names are
// shown.
std::string without_quotes(std::string text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == '.'))
        text.pop_back();
    if (text.starts_with("invalid connection option") ||
        text.starts_with("invalid URI query parameter"))
        return text;
    std::string shown;
    bool inside = false;
    for (const char c : text) {
        if (c == '"') {
            shown += inside ? "…\"" : "\"";
            inside = !inside;
        } else if (!inside) {
            shown += c;
        }
    }
    return shown;
}

// A password with @ or / that is written into a URI as it is ends there, and the rest becomes host
// and port, which libpq shows when it cannot use them.
bool misread(std::string_view keyword, std::string_view value) {
    if (keyword == "port")
        return value.find_first_not_of("0123456789,") != std::string_view::npos;
    if (keyword != "host")
        return false;
    std::istringstream hosts{std::string(value)};
    for (std::string host; std::getline(hosts, host, ',');)
        if (!host.starts_with('/') && host.find('@', 1) != std::string::npos)
            return true; // not the name of a socket
    return false;
}

[[noreturn]] void refuse_conninfo(std::string detail, std::string hint) {
    throw Refusal(ExitCode::configuration,
                  "cannot read the connection string of option \"database\"", std::move(detail),
                  std::move(hint));
}

void append_word(std::string &conninfo, const char *keyword, const char *value) {
    conninfo.append(conninfo.empty() ? "" : " ").append(keyword).append("=");
    if (*value != '\0' && std::strpbrk(value, " '\\") == nullptr) {
        conninfo += value;
        return;
    }
    conninfo += '\'';
    for (const char *c = value; *c != '\0'; ++c)
        conninfo.append(*c == '\'' || *c == '\\' ? "\\" : "").append(1, *c);
    conninfo += '\'';
}

void append_line(std::string &text, const std::string &name, const std::string &value,
                 const std::string &origin) {
    std::string line = name + " = " + value;
    if (line.size() < kOriginColumn)
        line.append(kOriginColumn - line.size(), ' ');
    text += line + " # " + origin + "\n";
}

void append_options(std::string &text, const Settings &settings) {
    std::string section;
    for (const Entry<Options> &entry : option_table()) {
        const std::string key(entry.key);
        const std::size_t dot = key.find('.');
        const std::string own = dot == std::string::npos ? std::string() : key.substr(0, dot);
        if (own != section)
            text += "\n[" + (section = own) + "]\n";
        const std::string value =
            key == "database" ? quote_toml(masked_conninfo(settings.options.database.conninfo))
                              : toml_value(entry, settings.options);
        append_line(text, key.substr(dot == std::string::npos ? 0 : dot + 1), value,
                    settings.origin_of(key));
    }
}

void append_kafka(std::string &text, const Settings &settings) {
    text += "\n[kafka]\n";
    for (const auto &[name, value] : settings.options.kafka.passthrough)
        append_line(text, quote_toml(name),
                    is_secret_kafka_setting(name) ? "\"***\"" : quote_toml(value),
                    settings.origin_of("kafka." + name));
}

void append_inboxes(std::string &text, const Settings &settings) {
    for (std::size_t index = 0; index < settings.options.inbox.size(); ++index) {
        text += "\n[[inbox]]\n";
        const std::string prefix = "inbox." + std::to_string(index + 1) + ".";
        for (const Entry<InboxOptions> &entry : inbox_table())
            append_line(text, std::string(entry.key),
                        toml_value(entry, settings.options.inbox[index]),
                        settings.origin_of(prefix + std::string(entry.key)));
    }
}

} // namespace

std::string masked_conninfo(const std::string &conninfo) {
    char *problem = nullptr;
    const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> parsed(
        PQconninfoParse(conninfo.c_str(), &problem), &PQconninfoFree);
    const std::unique_ptr<char, decltype(&PQfreemem)> owner(problem, &PQfreemem);
    if (!parsed)
        refuse_conninfo(without_quotes(problem != nullptr ? problem : "out of memory") + ".",
                        "Write it as libpq takes it: host=… dbname=… or postgresql://host/dbname.");
    std::string masked;
    for (const PQconninfoOption *option = parsed.get(); option->keyword != nullptr; ++option) {
        if (option->val == nullptr)
            continue;
        if (misread(option->keyword, option->val))
            refuse_conninfo("What it has as " + std::string(option->keyword) + " cannot be one.",
                            "In a URI a password has %40 for @ and %2F for a slash.");
        append_word(masked, option->keyword,
                    is_secret_keyword(option->keyword, option->dispchar) ? "***" : option->val);
    }
    return masked;
}

bool has_password(const std::string &conninfo) {
    try {
        return masked_conninfo(conninfo).find("***") != std::string::npos;
    } catch (const Refusal &) {
        return true;
    }
}

// libpq marks passwords, and not what does as well: scram_client_key, oauth_client_secret (18).
bool is_secret_keyword(std::string_view keyword, std::string_view shown_as) {
    if (shown_as.find('*') != std::string_view::npos)
        return true;
    for (const std::string_view part : {"password", "secret", "scram_"})
        if (keyword.find(part) != std::string_view::npos)
            return true;
    return false;
}

std::string print(const Settings &settings) {
    std::string text = "# effective configuration of once-relay " ONCE_VERSION "\n";
    append_options(text, settings);
    append_kafka(text, settings);
    append_inboxes(text, settings);
    return text;
}

} // namespace once::config
