#include "relay/postgres/pooling.hpp"

#include "relay/postgres/session_lost.hpp"

#include <memory>
#include <string>

#include <poll.h>

namespace once::postgres {
namespace {

// A pool of one session that is kept lets nobody else in: no answer is an answer.
constexpr int kPatienceMs = 3000;

using Client = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

[[noreturn]] void lost(PGconn *client) {
    std::string why = PQerrorMessage(client);
    throw SessionLost(why.substr(0, why.find('\n')));
}

std::string backend_pid(PGconn *session) {
    const Result result(PQexec(session, "SELECT pg_catalog.pg_backend_pid()"), PQclear);
    if (PQntuples(result.get()) != 1)
        lost(session);
    return PQgetvalue(result.get(), 0, 0);
}

// The backend of a client that stays in its transaction; empty when it gets none.
std::string backend_of(PGconn *client) {
    std::string pid;
    if (PQsendQuery(client, "BEGIN; SELECT pg_catalog.pg_backend_pid()") == 0)
        return pid;
    pollfd answer{PQsocket(client), POLLIN, 0};
    while (PQisBusy(client) == 0 || (poll(&answer, 1, kPatienceMs) > 0 && PQconsumeInput(client))) {
        if (PQisBusy(client) != 0)
            continue;
        const Result result(PQgetResult(client), PQclear);
        if (!result)
            break;
        if (PQntuples(result.get()) == 1)
            pid = PQgetvalue(result.get(), 0, 0);
    }
    return pid;
}

} // namespace

// A transaction pooler gives the second client the session that ours has just left, or ours another
// one afterwards.
Pooling pooling_of(PGconn *session, const std::function<PGconn *()> &connect) {
    // A pooler makes up the process id that it tells at connect; the backend knows its own.
    const std::string before = backend_pid(session);
    if (std::to_string(PQbackendPID(session)) == before)
        return Pooling::none;
    const Client other(connect(), PQfinish);
    if (PQstatus(other.get()) != CONNECTION_OK)
        lost(other.get());
    const bool shared = backend_of(other.get()) == before || backend_pid(session) != before;
    return shared ? Pooling::transaction : Pooling::session;
}

} // namespace once::postgres
