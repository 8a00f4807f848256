// Leases with fencing tokens.
#pragma once

#include "pg/boundary.hpp"

#include <optional>
#include <string_view>

namespace once {

// Throws ON032 unless `token` is the newest of the lease, which neither lapsed nor was released.
// Until the transaction ends nobody can take the lease over: its row is locked against that, so
// what is written under the token commits before the next owner's token exists.
void require_lease(std::string_view name, std::optional<int64> token);

} // namespace once
