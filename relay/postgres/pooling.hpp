// Whether a pooler stands between us and the server, and whether it gives our session to others
// between two transactions. Then the lane lock, which belongs to a session, would be held by nobody
// and released by anybody, our settings would be others', and the inbox's prepared statements would
// stand where it does not come again.
#pragma once

#include "relay/postgres/connect.hpp"

#include <functional>

namespace once::postgres {

enum class Pooling { none, session, transaction };

// Asks for a second connection, like that of the session, only where a pooler shows. Each wait ends
// after a few seconds. Throws SessionLost.
[[nodiscard]] Pooling pooling_of(PGconn *session, const std::function<Handle()> &connect,
                                 const StopSignal *stop);

inline constexpr const char *kPooled =
    "a transaction pooler is in the way: what belongs to a session does not survive it";
inline constexpr const char *kPooledHint =
    "connect to the server itself, or to a pool in session mode";

} // namespace once::postgres
