// An UPDATE that moves a row to another partition fires BEFORE UPDATE where the row was and BEFORE
// INSERT where it goes. The INSERT alone does not tell which it is; the row that it replaces does:
// the server marks it as moved by this transaction. So who judges the UPDATE notes the row, and the
// INSERT is the other half of it if that very row has been moved since. Each note counts once.
//
// Server world: may ERROR.
#pragma once

#include "pg/prelude.hpp"

extern "C" {
#include <utils/rel.h>
}

#include <optional>
#include <string>
#include <string_view>

namespace once {

// `row`: as it was before the UPDATE, where `relation` has it. `what`: who asks.
void note_update(Relation relation, HeapTuple row, std::string what,
                 std::optional<std::string> from);

struct Movement {
    bool is_one = false; // else it is an INSERT
    std::optional<std::string> from{};
};
// What was noted of the row that moves into `relation`.
[[nodiscard]] Movement movement_into(Relation relation, std::string_view what);

} // namespace once
