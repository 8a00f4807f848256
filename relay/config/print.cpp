#include "relay/config/kafka_settings.hpp"
#include "relay/config/settings.hpp"
#include "relay/config/table.hpp"
#include "relay/exit_code.hpp"

#include <cstring>
#include <memory>

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
        throw Refusal(ExitCode::configuration,
                      "cannot read the connection string of option \"database\"",
                      without_quotes(problem != nullptr ? problem : "out of memory") + ".",
                      "Write it as libpq takes it: host=… dbname=… or postgresql://host/dbname.");
    std::string masked;
    for (const PQconninfoOption *option = parsed.get(); option->keyword != nullptr; ++option)
        if (option->val != nullptr)
            append_word(masked, option->keyword,
                        std::strchr(option->dispchar, '*') != nullptr ? "***" : option->val);
    return masked;
}

std::string print(const Settings &settings) {
    std::string text = "# effective configuration of once-relay " ONCE_VERSION "\n";
    append_options(text, settings);
    append_kafka(text, settings);
    append_inboxes(text, settings);
    return text;
}

} // namespace once::config
