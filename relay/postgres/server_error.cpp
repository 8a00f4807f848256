#include "relay/postgres/server_error.hpp"

#include <algorithm>
#include <cctype>
#include <sstream>
#include <string_view>

namespace once::postgres {

namespace {

constexpr std::size_t kStateSize = 5;

void skip_blanks(std::string_view &text) {
    while (text.starts_with(' '))
        text.remove_prefix(1);
}

// The text after "NAME:  ", or nothing when the line has another name.
bool take(std::string_view line, std::string_view name, std::string &into) {
    if (!line.starts_with(name))
        return false;
    line.remove_prefix(name.size());
    skip_blanks(line);
    into = line;
    return true;
}

bool take_state(std::string_view &text, std::string &state) {
    if (text.size() <= kStateSize || text[kStateSize] != ':' ||
        !std::all_of(text.begin(), text.begin() + kStateSize, [](unsigned char c) {
            return std::isdigit(c) != 0 || (c >= 'A' && c <= 'Z');
        }))
        return false;
    state = text.substr(0, kStateSize);
    text.remove_prefix(kStateSize + 1);
    skip_blanks(text);
    return true;
}

// "SEVERITY:  STATE: message", the severity in the server's language; anything else is the message.
void take_first(std::string_view line, ServerError &parsed) {
    std::string_view rest = line;
    if (const auto colon = line.find(':'); colon != std::string_view::npos) {
        rest.remove_prefix(colon + 1);
        skip_blanks(rest);
        const bool severity = line.substr(0, colon) == "ERROR" || line.substr(0, colon) == "FATAL";
        if (!take_state(rest, parsed.state) && !severity)
            rest = line;
    }
    parsed.message = rest;
}

} // namespace

ServerError parse_server_error(const std::string &text) {
    ServerError parsed;
    std::istringstream lines(text);
    std::string line;
    bool first = true;
    while (std::getline(lines, line)) {
        if (std::exchange(first, false))
            take_first(line, parsed);
        else if (!take(line, "DETAIL:", parsed.detail))
            take(line, "HINT:", parsed.hint);
    }
    return parsed;
}

ServerError server_error(const pqxx::sql_error &error) {
    ServerError parsed = parse_server_error(error.what());
    if (parsed.state.empty())
        parsed.state = std::string(error.sqlstate()); // a view in libpqxx 8
    return parsed;
}

} // namespace once::postgres
