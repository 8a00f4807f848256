// Settings of request scopes, as a snapshot shows them.
//
// A scope without a row has the defaults and costs nothing. What a session remembers of a row
// counts only if that very version of it is visible to the snapshot; no message and no trigger
// carries correctness.
#pragma once

#include "pg/boundary.hpp"
#include "storage/ring.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace once {

struct Scope {
    std::string name;
    int64 lease = 60 * USECS_PER_SEC; // all in microseconds
    int64 total_lease = USECS_PER_DAY;
    int64 keep = 7 * USECS_PER_DAY;
    int64 keep_failed = 7 * USECS_PER_DAY;
    int max_attempts = 0;             // 0: no limit
    bool allow_other_request = false; // on a lapsed or released claim
    bool key_required = true;
    bool restricted = false;
    std::vector<std::string> roles;
    // Whose ring takes what is written. While our own transaction has changed it and not committed,
    // that is still the one before: nobody else can know of the new one, and would claim there what
    // we have claimed here.
    Class home = kDefaultClass;
    bool uncommitted = false; // our own transaction has changed the row
    int classes =
        1 << static_cast<int>(kDefaultClass); // a bit for each it ever had: all are looked into

    [[nodiscard]] bool used(Class one) const { return (classes >> static_cast<int>(one) & 1) != 0; }
};

// May throw pg::Error.
[[nodiscard]] std::shared_ptr<const Scope> scope_of(std::string_view name, Snapshot snapshot);
// As it is at this moment.
[[nodiscard]] std::shared_ptr<const Scope> scope_now(std::string_view name);

// Throws 42501 when the user has no right to the scope.
void check_scope_right(const Scope &scope, Oid user);

// Microseconds; a month has 30 days, a day 24 hours. Throws 22023 unless above zero and at most
// 1000 years.
[[nodiscard]] int64 microseconds_of(Datum interval, const char *what);
// The same, and zero is one too.
[[nodiscard]] int64 microseconds_or_zero_of(Datum interval, const char *what);

} // namespace once
