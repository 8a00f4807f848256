#include "relay/check/checks.hpp"
#include "relay/check/session.hpp"
#include "relay/database/pooling.hpp"
#include "relay/database/session_lost.hpp"

namespace once::checks {

namespace {

constexpr const char *kArea = "database";

database::Pooling pooling(const Options &options, database::Connection &session) {
    try {
        return database::pooling_of(session.raw(),
                                    [&] { return PQconnectdb(options.database.conninfo.c_str()); });
    } catch (const database::SessionLost &lost) {
        throw pqxx::broken_connection(lost.what());
    }
}

} // namespace

void check_pooler(const Options &options, database::Connection &session, Findings &findings);

void check_pooler(const Options &options, database::Connection &session, Findings &findings) {
    switch (pooling(options, session)) {
    case database::Pooling::transaction:
        findings.error(ExitCode::database, kArea, database::kPooled, database::kPooledHint);
        break;
    case database::Pooling::session:
        findings.warning(
            kArea, "a pooler is in the way; sessions are kept",
            "connect to the server itself: a change of the pool's mode breaks the lane lock");
        break;
    case database::Pooling::none:
        findings.ok(kArea, "no pooler in the way");
        break;
    }
}

} // namespace once::checks
