#include "relay/inbox/failure.hpp"

#include <algorithm>
#include <array>

namespace once::inbox {
namespace {

// 40001 and 40P01 roll back a transaction that did nothing wrong. A full disk (53100) is full for
// every message.
Failure judge_handler(std::string_view sqlstate) {
    if (sqlstate == "40001" || sqlstate == "40P01")
        return Failure::conflict;
    return sqlstate == "53100" ? Failure::again : Failure::message;
}

// 08 connection, 53 resources, 57 operator (57014 too: statement_timeout is 0 in our statements, so
// somebody cancelled it), 58 system, 55P03 lock not available, 25006 read-only (the server was
// demoted).
Failure judge_own(std::string_view sqlstate) {
    constexpr std::array<std::string_view, 4> kAgain = {"08", "53", "57", "58"};
    const std::string_view kind = sqlstate.substr(0, 2);
    if (kind == "40")
        return Failure::conflict;
    if (std::find(kAgain.begin(), kAgain.end(), kind) != kAgain.end() || sqlstate == "55P03" ||
        sqlstate == "25006")
        return Failure::again;
    if (sqlstate == "26000") // a handler ran DEALLOCATE ALL
        return Failure::reconnect;
    if (sqlstate == "ON012")
        return Failure::behind;
    if (sqlstate == "42883" || sqlstate == "42P01")
        return Failure::missing;
    return sqlstate == "42501" ? Failure::rights : Failure::message;
}

} // namespace

Failure judge(std::string_view sqlstate, During during) {
    return during == During::handler ? judge_handler(sqlstate) : judge_own(sqlstate);
}

} // namespace once::inbox
