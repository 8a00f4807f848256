// What the server said, taken apart: libpqxx gives one text of several lines, and version 6 forgets
// the SQLSTATE of the errors it has types for.
#pragma once

#include <pqxx/pqxx>

#include <string>

namespace once::postgres {

struct ServerError {
    std::string state;   // SQLSTATE; empty: not told
    std::string message; // without "ERROR:  ", one line
    std::string detail;
    std::string hint;
};

ServerError server_error(const pqxx::sql_error &error);

// Pure part: the text as libpq formats it, "ERROR:  …\nDETAIL:  …\nHINT:  …\nCONTEXT:  …".
ServerError parse_server_error(const std::string &text);

} // namespace once::postgres
