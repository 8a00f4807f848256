#include "relay/database/pooling.hpp"

#include <memory>

#include <poll.h>

namespace once::database {
namespace {

// A pool of one session that is kept lets nobody else in: no answer is an answer.
constexpr int kPatienceMs = 3000;

std::string backend_pid(Connection &session) {
    pqxx::nontransaction work(session.pqxx());
    return work.exec("SELECT pg_backend_pid()")[0][0].as<std::string>();
}

using Client = std::unique_ptr<PGconn, decltype(&PQfinish)>;

// The backend of a client that stays in its transaction; empty when it gets none.
std::string backend_of(PGconn *client) {
    std::string pid;
    if (PQsendQuery(client, "BEGIN; SELECT pg_backend_pid()") == 0)
        return pid;
    pollfd answer{PQsocket(client), POLLIN, 0};
    while (PQisBusy(client) == 0 || (poll(&answer, 1, kPatienceMs) > 0 && PQconsumeInput(client))) {
        if (PQisBusy(client) != 0)
            continue;
        const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQgetResult(client), PQclear);
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
Pooling pooling_of(Connection &session, const std::string &conninfo) {
    // A pooler makes up the process id that it tells at connect; the backend knows its own.
    const std::string before = backend_pid(session);
    if (std::to_string(PQbackendPID(session.raw())) == before)
        return Pooling::none;
    const Client other(PQconnectdb(conninfo.c_str()), PQfinish);
    if (PQstatus(other.get()) != CONNECTION_OK)
        throw pqxx::broken_connection(PQerrorMessage(other.get()));
    const bool shared = backend_of(other.get()) == before || backend_pid(session) != before;
    return shared ? Pooling::transaction : Pooling::session;
}

} // namespace once::database
