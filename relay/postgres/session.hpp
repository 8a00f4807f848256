// The lane's session: the one connection that holds the lane lock, reads, and writes what the relay
// has to write. Any error ends it: locks and settings die with the connection, so there is nothing
// to repair.
#pragma once

#include "relay/postgres/compat.hpp"
#include "relay/postgres/session_lost.hpp"

#include <string>

namespace once {
struct DatabaseOptions;
}

namespace once::postgres {

// Connects with the session settings the lane depends on (session.cpp says why each), checks that
// the extension speaks our protocol. Throws SessionLost or Refusal.
std::unique_ptr<Connection> connect(const DatabaseOptions &options);

// Throws Refusal when an update has brought another protocol meanwhile.
void check_protocol(pqxx::transaction_base &work);

// Runs fn, turns what libpqxx throws into SessionLost (may work next time) or Refusal (never will).
[[noreturn]] void rethrow_as_ours();
template <typename Function> auto guarded(Function &&fn) -> decltype(fn()) {
    try {
        return fn();
    } catch (const pqxx::usage_error &) { // in libpqxx 8 these two are failures, too
        rethrow_as_ours();
    } catch (const pqxx::unexpected_rows &) {
        rethrow_as_ours();
    } catch (const pqxx::failure &) {
        rethrow_as_ours();
    }
}

// SQL literals of text that comes from outside.
std::string quoted(Connection &connection, const std::string &text);

} // namespace once::postgres
