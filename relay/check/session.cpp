#include "relay/check/session.hpp"

#include "relay/postgres/server_error.hpp"

#include <cstdlib>

namespace once::checks {

std::unique_ptr<postgres::Connection> open_session(const Options &options) {
    // Defaults that the connection string overrides.
    setenv("PGCONNECT_TIMEOUT", std::to_string(options.database.connect_timeout_s).c_str(), 0);
    setenv("PGAPPNAME", "once-relay", 0);
    setenv("PGCLIENTENCODING", "UTF8", 1);
    auto connection = std::make_unique<postgres::Connection>(options.database.conninfo);
    if (PQstatus(connection->raw()) != CONNECTION_OK)
        throw pqxx::broken_connection(PQerrorMessage(connection->raw()));
    return connection;
}

pqxx::result ask(postgres::Connection &connection, const std::string &sql) {
    pqxx::work work(connection.pqxx());
    work.exec("SET LOCAL search_path = pg_catalog, pg_temp");
    const pqxx::result rows = work.exec(sql);
    work.commit();
    return rows;
}

pqxx::result ask_in_own_path(postgres::Connection &connection, const std::string &sql) {
    pqxx::nontransaction work(connection.pqxx());
    return work.exec(sql);
}

std::string ask_text(postgres::Connection &connection, const std::string &sql) {
    const pqxx::result rows = ask(connection, sql);
    return rows.empty() || rows[0][0].is_null() ? std::string() : rows[0][0].as<std::string>();
}

std::optional<std::string> attempt(postgres::Connection &connection, const std::string &sql) {
    try {
        ask(connection, sql);
        return std::nullopt;
    } catch (const pqxx::sql_error &error) {
        return postgres::server_error(error).message;
    }
}

std::string quote(postgres::Connection &connection, const std::string &text) {
    return connection.pqxx().quote(text);
}

} // namespace once::checks
