// What each purpose sets in its session, and how long it waits for an answer.
#pragma once

#include "relay/postgres/session.hpp"

namespace once::postgres {

// Empty: nothing is set.
std::string session_settings(Purpose purpose, const DatabaseOptions &options);

// Longer than the server's own statement_timeout in that session, so that a server that answers is
// heard; the inbox's statements have no end of their own (a handler), see inbox/session.
std::chrono::milliseconds patience_of(Purpose purpose);

const char *application_name(Purpose purpose);

} // namespace once::postgres
