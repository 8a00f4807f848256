#include "relay/check/checks.hpp"
#include "relay/check/session.hpp"
#include "relay/database/pooling.hpp"

namespace once::checks {

namespace {

constexpr const char *kArea = "database";

} // namespace

void check_pooler(const Options &options, database::Connection &session, Findings &findings);

void check_pooler(const Options &options, database::Connection &session, Findings &findings) {
    switch (database::pooling_of(session, options.database.conninfo)) {
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
