// Settings of request scopes, read once per session and kept until somebody changes them.
//
// The answer of scope_of is valid until changes of others arrive. Whoever writes claims has the key
// and the table locked and asks scopes_changed() before he relies on what he found: who writes
// under newer settings does so only when their change has arrived everywhere (find_tables).
#pragma once

#include "pg/boundary.hpp"

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace once {

inline constexpr int kGenerations = 3;

struct Scope {
    std::string name; // empty: every scope that is not declared
    std::array<Oid, kGenerations> heap{};
    int generation = 0; // takes new claims
    // Generations that were seen empty and take no claims. They stay so until one of them takes new
    // claims, which changes the row of the scope: the sweep hands over only from a generation that
    // is not empty, so nobody is on his way into one that is.
    mutable std::array<bool, kGenerations> empty{};
    int64 lease = 0; // all in microseconds
    int64 total_lease = 0;
    int64 keep = 0;
    int64 keep_failed = 0;
    int max_attempts = 0;             // 0: no limit
    bool allow_other_request = false; // on a lapsed or released claim
    bool key_required = true;
    bool restricted = false;
    std::vector<Oid> roles;
};

// May throw pg::Error.
[[nodiscard]] std::shared_ptr<const Scope> scope_of(std::string_view name);

// True when what scope_of last gave may be out of date. Server world: inside pg::call.
[[nodiscard]] bool scopes_changed();

// Throws 42501 when the user has no right to the scope.
void check_scope_right(const Scope &scope, Oid user);

// Microseconds; a month has 30 days, a day 24 hours. Throws 22023 unless above zero and at most
// 1000 years.
[[nodiscard]] int64 microseconds_of(Datum interval, const char *what);
// The same, and zero is one too.
[[nodiscard]] int64 microseconds_or_zero_of(Datum interval, const char *what);

} // namespace once
