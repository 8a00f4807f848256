// What a statement of the inbox can end with: SqlError (refused, the transaction is over, the
// connection lives), SessionLost (whether an open commit went through is unknown: claim again, the
// database knows), and what a part of a batch ends with.
#pragma once

#include "relay/inbox/failure.hpp"
#include "relay/postgres/session_lost.hpp"

#include <string>

namespace once::inbox {

using postgres::SessionLost;
using postgres::SqlError;

// A part was not applied, and the transaction is rolled back: because of a message of it or what
// the handler made of it (the same again will be refused again), or because of what Failure says.
struct MessageRefused : SqlError {
    MessageRefused(const SqlError &error, Failure reason) : SqlError(error), failure(reason) {}
    Failure failure;
};

// For logs and once.inbox.error.
inline std::string text_of(const SqlError &error) {
    return std::string(error.what()) + " (SQLSTATE " + error.sqlstate + ")";
}

} // namespace once::inbox
