// Whether a pooler stands between us and the server, and whether it gives our session to others
// between two transactions. Then the lane lock, which belongs to a session, would be held by nobody
// and released by anybody, and our settings would be others'.
#pragma once

#include "relay/database/compat.hpp"

#include <string>

namespace once::database {

enum class Pooling { none, session, transaction };

// Opens a second connection with `conninfo`, but only where a pooler shows. Throws pqxx::failure.
[[nodiscard]] Pooling pooling_of(Connection &session, const std::string &conninfo);

inline constexpr const char *kPooled =
    "a transaction pooler is in the way: session locks do not survive it";
inline constexpr const char *kPooledHint =
    "connect to the server itself, or to a pool in session mode";

} // namespace once::database
