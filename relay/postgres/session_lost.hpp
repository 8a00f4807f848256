// The two ways a statement fails.
#pragma once

#include "relay/process/one_line.hpp"

#include <stdexcept>
#include <string>
#include <utility>

namespace once::postgres {

// What a server says may have a payload in it: it is cut.
struct DatabaseError : std::runtime_error {
    explicit DatabaseError(std::string text) : std::runtime_error(bounded(std::move(text))) {}
};

// The session is gone or of no use, or the server did not answer in time; a new one may work.
// Whether a commit under way went through is unknown. Whoever held the lane lock does not any more.
struct SessionLost : DatabaseError {
    using DatabaseError::DatabaseError;
};

// The server refused a statement; the connection lives.
struct SqlError : DatabaseError {
    SqlError(std::string state, std::string message, std::string detail_text = {},
             std::string hint_text = {})
        : DatabaseError(std::move(message)), sqlstate(std::move(state)),
          detail(bounded(std::move(detail_text))), hint(bounded(std::move(hint_text))) {}
    std::string sqlstate;
    std::string detail;
    std::string hint;
};

} // namespace once::postgres
