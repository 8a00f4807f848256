// What the server said, taken apart: libpqxx gives one text of several lines and, depending on its
// version, forgets the SQLSTATE. In libpq's verbose form, which our sessions ask for, the text has
// it, whatever language the server speaks.
#pragma once

#include <pqxx/pqxx>

#include <string>

namespace once::postgres {

struct ServerError {
    std::string state;   // SQLSTATE; empty: not told
    std::string message; // without "ERROR:  42501: ", one line
    std::string detail;
    std::string hint;
};

ServerError server_error(const pqxx::sql_error &error);

// Pure part: "ERROR:  42501: …\nDETAIL:  …\nHINT:  …\nLOCATION:  …".
ServerError parse_server_error(const std::string &text);

} // namespace once::postgres
