// Is there a pooler between us and the server, and does it give a session to somebody else between
// two transactions? Then the lane lock, which belongs to a session, would be held by nobody and
// released by anybody.
#include "relay/check/checks.hpp"
#include "relay/check/session.hpp"

namespace once::checks {

namespace {

constexpr const char *kArea = "database";

std::string backend_pid(database::Connection &session) {
    return ask_text(session, "SELECT pg_backend_pid()");
}

// A second client begins a transaction: with a transaction pooler it gets the session that ours has
// just left.
bool session_is_shared(const Options &options, database::Connection &session) {
    const std::string before = backend_pid(session);
    const auto other = open_session(options);
    pqxx::work transaction(other->pqxx());
    const std::string others = transaction.exec("SELECT pg_backend_pid()")[0][0].as<std::string>();
    return others == before || backend_pid(session) != before;
}

} // namespace

void check_pooler(const Options &options, database::Connection &session, Findings &findings);

void check_pooler(const Options &options, database::Connection &session, Findings &findings) {
    if (session_is_shared(options, session)) {
        findings.error(ExitCode::database, kArea,
                       "a transaction pooler is in the way: session locks do not survive it",
                       "connect to the server itself, or to a pool in session mode");
        return;
    }
    // A pooler makes up the process id it tells at connect; the backend knows its own.
    if (std::to_string(PQbackendPID(session.raw())) != backend_pid(session))
        findings.warning(
            kArea, "a pooler is in the way; sessions are kept",
            "connect to the server itself: a change of the pool's mode breaks the lane lock");
    else
        findings.ok(kArea, "no pooler in the way");
}

} // namespace once::checks
