// Tables of ours by name, remembered for the session. Server world.
#pragma once

#include "pg/prelude.hpp"

namespace once {

// ERROR 42P01 when it is not there. The table's primary key must not be remembered: REINDEX
// CONCURRENTLY replaces it.
[[nodiscard]] Oid table_named(const char *name);
// The same, remembered until the table changes; `name` is a literal.
[[nodiscard]] Oid known_table(const char *name);

} // namespace once
