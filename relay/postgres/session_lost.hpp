#pragma once

#include <stdexcept>

namespace once::postgres {

// The session is gone or of no use; a new one may work. Whoever held the lane lock does not any
// more.
struct SessionLost : std::runtime_error {
    using std::runtime_error::runtime_error;
};

} // namespace once::postgres
