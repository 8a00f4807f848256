// RetryRules as text: "1s 10s 1m" for every SQLSTATE, "23503=1s 1m,08=5s,P0001=" by SQLSTATE, class
// or the name PostgreSQL gives it. Rules that are not named keep their defaults.
#pragma once

#include "relay/options.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace once::config {

// Nothing: it cannot be read.
std::optional<RetryRules> retry_rules_of(std::string_view text);
std::string to_text(const RetryRules &rules);

inline constexpr std::string_view kRetryRules =
    "pauses such as \"1s 10s 5m 1h\", or by SQLSTATE { \"23503\" = \"1s 1m\", \"08\" = \"\" }";

} // namespace once::config
