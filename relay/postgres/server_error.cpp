#include "relay/postgres/server_error.hpp"

#include <sstream>
#include <string_view>

namespace once::postgres {

namespace {

std::string state_of(const pqxx::sql_error &error) {
    if (!error.sqlstate().empty())
        return std::string(error.sqlstate()); // a view in libpqxx 8
    if (dynamic_cast<const pqxx::insufficient_privilege *>(&error) != nullptr)
        return "42501";
    if (dynamic_cast<const pqxx::undefined_function *>(&error) != nullptr)
        return "42883";
    if (dynamic_cast<const pqxx::undefined_table *>(&error) != nullptr)
        return "42P01";
    if (dynamic_cast<const pqxx::undefined_column *>(&error) != nullptr)
        return "42703";
    return {};
}

// The text after "NAME:  ", or nothing when the line has another name.
bool take(std::string_view line, std::string_view name, std::string &into) {
    if (!line.starts_with(name))
        return false;
    line.remove_prefix(name.size());
    while (line.starts_with(' '))
        line.remove_prefix(1);
    into = line;
    return true;
}

} // namespace

ServerError parse_server_error(const std::string &text) {
    ServerError parsed;
    std::istringstream lines(text);
    std::string line;
    while (std::getline(lines, line)) {
        if (take(line, "DETAIL:", parsed.detail) || take(line, "HINT:", parsed.hint))
            continue;
        if (parsed.message.empty() && !take(line, "ERROR:", parsed.message) &&
            !take(line, "FATAL:", parsed.message))
            parsed.message = line;
    }
    return parsed;
}

ServerError server_error(const pqxx::sql_error &error) {
    ServerError parsed = parse_server_error(error.what());
    parsed.state = state_of(error);
    return parsed;
}

} // namespace once::postgres
