#include "relay/postgres/session.hpp"

#include "relay/postgres/protocol.hpp"
#include "relay/postgres/pooling.hpp"
#include "relay/postgres/server_error.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/one_line.hpp"
#include "relay/options.hpp"

namespace once::postgres {
namespace {

// Parameters that must stand in the start-up packet or in libpq; ours come last, so they win.
std::string with_defaults(const DatabaseOptions &options) {
    std::string given = options.conninfo;
    const std::string timeout = std::to_string(options.session_timeout_ms);
    const std::string connect = std::to_string(options.connect_timeout_s);
    const bool uri = given.rfind("postgres://", 0) == 0 || given.rfind("postgresql://", 0) == 0;
    if (uri) {
        given += given.find('?') == std::string::npos ? '?' : '&';
        return given +
               "application_name=once-relay&client_encoding=UTF8&keepalives=1&tcp_user_timeout=" +
               timeout + "&connect_timeout=" + connect;
    }
    return given +
           " application_name=once-relay client_encoding=UTF8 keepalives=1 tcp_user_timeout=" +
           timeout + " connect_timeout=" + connect;
}

// Each setting with what goes wrong without it.
std::string session_settings(const DatabaseOptions &options) {
    const std::string timeout = std::to_string(options.session_timeout_ms);
    return
        // A relay that hangs must not keep the lane.
        "SET idle_session_timeout = " + timeout +
        "; SET idle_in_transaction_session_timeout = " + timeout +
        "; SET tcp_user_timeout = " + timeout +
        ";"
        // A killed relay's backend in once.wait() must not keep it either.
        " SET client_connection_check_interval = 200;"
        // What dead_letter and the report say must survive a crash of the server.
        " SET synchronous_commit = on;"
        // A statement that outlives the timeout of a holder looks like a holder that hangs.
        " SET statement_timeout = 10000; SET lock_timeout = 5000;"
        " SET default_transaction_isolation = 'read committed';"
        // A function or operator that fits our arguments better than the server's, in a schema
        // where others may create, would run with the relay's rights.
        " SET search_path = pg_catalog, pg_temp;"
        " SET bytea_output = 'hex'; SET DateStyle = 'ISO'; SET TimeZone = 'UTC'; SET "
        "extra_float_digits = 1;"
        // The plans we want are known: the xid index for small differences, the primary keys in
        // order for big ones. Statistics of tables that are truncated all the time mislead.
        " SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off;"
        " SET max_parallel_workers_per_gather = 0; SET jit = off;";
}

} // namespace

std::string quoted(Connection &connection, const std::string &text) {
    return connection.pqxx().quote(text);
}

void rethrow_as_ours() {
    try {
        throw;
    } catch (const pqxx::sql_error &e) {
        const ServerError said = server_error(e);
        const std::string &state = said.state, &what = said.message;
        if (state == "42501")
            throw Refusal(ExitCode::database, "missing privilege: " + what, {},
                          "Give the relay's role its rights: SELECT once.grant_relay('role').");
        if (state == "3F000" || state == "42883" || state == "42P01" || state == "42703")
            throw Refusal(ExitCode::mismatch,
                          "extension \"pg_once\" is missing or of another version: " + what, {},
                          "Install the version that belongs to this program: CREATE EXTENSION "
                          "pg_once, or ALTER EXTENSION pg_once UPDATE.");
        if (state == "22023") // a lane that does not exist
            throw Refusal(ExitCode::configuration, what, said.detail, said.hint);
        if (state == "ON040")
            throw Refusal(
                ExitCode::refused, what, said.detail,
                "Find out what happened to this database, then decide with once.rearm().");
        throw SessionLost(what + (state.empty() ? "" : " (SQLSTATE " + state + ")"));
    } catch (const std::exception &e) {
        throw SessionLost(one_line(e.what()));
    }
}

void check_protocol(pqxx::transaction_base &work) {
    const auto found = exec_row(work, kAskProtocol);
    require_protocol({found[0].as<int>(), found[1].as<int>()});
}

std::unique_ptr<Connection> connect(const DatabaseOptions &options) {
    return guarded([&] {
        const std::string conninfo = with_defaults(options);
        auto connection = std::make_unique<Connection>(conninfo);
        if (PQstatus(connection->raw()) != CONNECTION_OK)
            throw SessionLost(one_line(PQerrorMessage(connection->raw())));
        // Before the settings: they would stay behind in sessions of others.
        if (pooling_of(connection->raw(), [&] { return PQconnectdb(conninfo.c_str()); }) ==
            Pooling::transaction)
            throw Refusal(ExitCode::database, kPooled, {}, kPooledHint);
        pqxx::nontransaction work(connection->pqxx());
        work.exec(session_settings(options));
        check_protocol(work);
        return connection;
    });
}

} // namespace once::postgres
