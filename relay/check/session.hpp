// A plain connection for questions: no settings of the relay, so that it works before anything is
// installed.
#pragma once

#include "relay/postgres/compat.hpp"
#include "relay/options.hpp"

#include <memory>
#include <optional>
#include <string>

namespace once::checks {

// Throws pqxx::failure with libpq's text.
std::unique_ptr<postgres::Connection> open_session(const Options &options);

// One statement in a transaction of its own, under a search_path of the server's functions alone:
// one that fits our arguments better, where others may create, would run with our rights. Set for
// the transaction only, because a pooler may give the session to others.
pqxx::result ask(postgres::Connection &connection, const std::string &sql);
// Names mean what they mean to the role: for what is not ours. The server's are to be qualified.
pqxx::result ask_in_own_path(postgres::Connection &connection, const std::string &sql);
// First column of the first row; empty string when null or no row.
std::string ask_text(postgres::Connection &connection, const std::string &sql);

// nullopt: done; else the server's text. For statements whose failure is the finding.
std::optional<std::string> attempt(postgres::Connection &connection, const std::string &sql);

std::string quote(postgres::Connection &connection, const std::string &text);

} // namespace once::checks
