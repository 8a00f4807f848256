#include "relay/postgres/pooling.hpp"

#include "relay/postgres/session_lost.hpp"
#include "relay/postgres/watch.hpp"
#include "relay/process/one_line.hpp"

#include <memory>
#include <string>

#include <poll.h>

namespace once::postgres {
namespace {

// A pool of one session that is kept lets nobody else in: no answer is an answer.
constexpr int kPatienceMs = 3000;
// Of the session itself, which was just connected.
constexpr std::chrono::milliseconds kAnswerPatience{10000};

using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

[[noreturn]] void lost(PGconn *client) {
    throw SessionLost(one_line(PQerrorMessage(client)));
}

std::string backend_pid(PGconn *session, const StopSignal *stop) {
    const Watch::Guard guard(PQsocket(session), kAnswerPatience, stop);
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
Pooling pooling_of(PGconn *session, const std::function<Handle()> &connect,
                   const StopSignal *stop) {
    // A pooler makes up the process id that it tells at connect; the backend knows its own.
    const std::string before = backend_pid(session, stop);
    if (std::to_string(PQbackendPID(session)) == before)
        return Pooling::none;
    const Handle other = connect();
    const bool shared = backend_of(other.get()) == before || backend_pid(session, stop) != before;
    hang_up(other.get()); // whether its answer came or not
    return shared ? Pooling::transaction : Pooling::session;
}

} // namespace once::postgres
