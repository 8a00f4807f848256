// A session for questions: without settings of the relay, so that it works before anything is
// installed, and through any pooler.
#pragma once

#include "relay/options.hpp"
#include "relay/postgres/session.hpp"

#include <memory>
#include <optional>
#include <string>

namespace once::postgres {

// Throws SessionLost with libpq's text. Everything below throws DatabaseError.
std::unique_ptr<Session> open_session(const DatabaseOptions &options);

// One statement in a transaction of its own, under a search_path of the server's functions alone:
// one that fits our arguments better, where others may create, would run with our rights. Set for
// the transaction only, because a pooler may give the session to others.
template <typename... Values>
pqxx::result ask(Session &session, const std::string &sql, const Values &...values) {
    Transaction transaction(session);
    transaction.rows("SET LOCAL search_path = pg_catalog, pg_temp");
    const pqxx::result rows = transaction.rows(sql, values...);
    transaction.commit();
    return rows;
}

// First column of the first row; empty string when null or no row.
template <typename... Values>
std::string ask_text(Session &session, const std::string &sql, const Values &...values) {
    const pqxx::result rows = ask(session, sql, values...);
    return rows.empty() || rows[0][0].is_null() ? std::string() : rows[0][0].as<std::string>();
}

// nullopt: done; else the server's text. For statements whose failure is the finding.
std::optional<std::string> attempt(Session &session, const std::string &sql);

// As a literal, for a fix that somebody may copy.
std::string quote(Session &session, const std::string &text);

} // namespace once::postgres
