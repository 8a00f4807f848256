#include "relay/postgres/session.hpp"

#include "relay/options.hpp"
#include "relay/postgres/connect.hpp"
#include "relay/postgres/pooling.hpp"
#include "relay/postgres/protocol.hpp"
#include "relay/postgres/server_error.hpp"
#include "relay/postgres/session_settings.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/one_line.hpp"

namespace once::postgres {
namespace {

void refuse_transaction_pooler(PGconn *session, const DatabaseOptions &options,
                               const StopSignal *stop) {
    const auto another = [&] { return open_connection(options, "once-relay", stop); };
    if (pooling_of(session, another, stop) == Pooling::transaction)
        throw Refusal(ExitCode::database, kPooled, {}, kPooledHint);
}

} // namespace

Session::Session(const DatabaseOptions &options, Purpose purpose, const StopSignal *stop)
    : stop_(stop), patience_(patience_of(purpose)) {
    Handle handle = open_connection(options, application_name(purpose), stop);
    // Before the settings: they would stay behind in sessions of others.
    if (purpose != Purpose::question)
        refuse_transaction_pooler(handle.get(), options, stop);
    PQsetErrorVerbosity(handle.get(), PQERRORS_VERBOSE); // with the SQLSTATE (server_error.hpp)
    PQsetNoticeProcessor(
        handle.get(), [](void *, const char *) {}, nullptr);
    connection_ = std::make_unique<Connection>(handle.release());
    if (const std::string settings = session_settings(purpose, options); !settings.empty())
        rows(settings);
}

Session::~Session() {
    if (PQtransactionStatus(raw()) == PQTRANS_ACTIVE)
        hang_up(raw());
}

pqxx::result Session::run(const std::string &sql, const ValueList &values) {
    return watched([&] {
        pqxx::nontransaction work(connection_->pqxx());
        return exec_values(work, sql, values);
    });
}

pqxx::row Session::only_row(const pqxx::result &rows) {
    if (rows.size() != 1)
        throw SessionLost("the server answered " + std::to_string(rows.size()) +
                          " rows where one was asked for");
    return rows[0];
}

void Session::rethrow(bool cut, std::chrono::milliseconds limit) const {
    if (cut && stop_ != nullptr && stop_->requested())
        throw SessionLost("the database did not answer before the stop");
    if (cut)
        throw SessionLost("the database has not answered for " +
                          std::to_string(limit.count() / 1000) + " s");
    try {
        throw;
    } catch (const pqxx::sql_error &error) {
        const ServerError said = server_error(error);
        if (PQstatus(raw()) != CONNECTION_OK)
            throw SessionLost(said.message);
        throw SqlError(said.state, said.message, said.detail, said.hint);
    } catch (const std::exception &error) {
        throw SessionLost(one_line(error.what()));
    }
}

Transaction::Transaction(Session &session) : session_(session) {
    session_.watched([&] { work_.emplace(session_.connection().pqxx()); });
}

// Rolls back, which waits for the server, too.
Transaction::~Transaction() {
    try {
        session_.watched([&] { work_.reset(); });
    } catch (const std::exception &) {
        // The next statement finds out.
    }
}

pqxx::result Transaction::run(const std::string &sql, const ValueList &values) {
    return session_.watched([&] { return exec_values(*work_, sql, values); });
}

void Transaction::commit() {
    session_.watched([&] { work_->commit(); });
}

void refuse_or_lose(const SqlError &error) {
    const std::string &state = error.sqlstate, what = error.what();
    if (state == "42501")
        throw Refusal(ExitCode::database, "missing privilege: " + what, {},
                      "Give the relay's role its rights: SELECT once.grant_relay('role').");
    if (state == "3F000" || state == "42883" || state == "42P01" || state == "42703")
        throw Refusal(ExitCode::mismatch,
                      "extension \"pg_once\" is missing or of another version: " + what, {},
                      "Install the version that belongs to this program: CREATE EXTENSION "
                      "pg_once, or ALTER EXTENSION pg_once UPDATE.");
    if (state == "22023") // a lane that does not exist
        throw Refusal(ExitCode::configuration, what, error.detail, error.hint);
    if (state == "ON040")
        throw Refusal(ExitCode::refused, what, error.detail,
                      "Find out what happened to this database, then decide with once.rearm().");
    throw SessionLost(what + (state.empty() ? "" : " (SQLSTATE " + state + ")"));
}

void check_protocol(Session &session) {
    const pqxx::row found = session.row(kAskProtocol);
    require_protocol({found[0].as<int>(), found[1].as<int>()});
}

std::unique_ptr<Session> connect(const DatabaseOptions &options, Purpose purpose,
                                 const StopSignal *stop) {
    return guarded([&] {
        auto session = std::make_unique<Session>(options, purpose, stop);
        check_protocol(*session);
        return session;
    });
}

} // namespace once::postgres
