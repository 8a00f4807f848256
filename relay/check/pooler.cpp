#include "relay/check/checks.hpp"
#include "relay/postgres/question.hpp"
#include "relay/postgres/pooling.hpp"

namespace once::checks {

namespace {

constexpr const char *kArea = "database";

postgres::Pooling pooling(const Options &options, Session &session) {
    return postgres::pooling_of(
        session.raw(),
        [&] { return postgres::open_connection(options.database, "once-relay", nullptr); },
        nullptr);
}

} // namespace

void check_pooler(const Options &options, Session &session, Findings &findings) {
    switch (pooling(options, session)) {
    case postgres::Pooling::transaction:
        findings.error(ExitCode::database, kArea, postgres::kPooled, postgres::kPooledHint);
        break;
    case postgres::Pooling::session:
        findings.warning(
            kArea, "a pooler is in the way; sessions are kept",
            "connect to the server itself: a change of the pool's mode breaks the lane lock");
        break;
    case postgres::Pooling::none:
        findings.ok(kArea, "no pooler in the way");
        break;
    }
}

} // namespace once::checks
