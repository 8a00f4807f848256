// The two ways a statement fails.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace once::postgres {

struct DatabaseError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The session is gone or of no use, or the server did not answer in time; a new one may work.
// Whether a commit under way went through is unknown. Whoever held the lane lock does not any more.
struct SessionLost : DatabaseError {
    using DatabaseError::DatabaseError;
};

// The server refused a statement; the connection lives.
struct SqlError : DatabaseError {
    SqlError(std::string state, const std::string &message, std::string detail_text = {},
             std::string hint_text = {})
        : DatabaseError(message), sqlstate(std::move(state)), detail(std::move(detail_text)),
          hint(std::move(hint_text)) {}
    std::string sqlstate;
    std::string detail;
    std::string hint;
};

} // namespace once::postgres
