// Statements for a person at a shell: rows as JSON, and what the server refuses as a Refusal that
// says what to do.
#pragma once

#include "relay/postgres/question.hpp"

#include <string>

#include <nlohmann/json.hpp>

namespace once::act {

using Json = nlohmann::ordered_json;

constexpr int kLimit = 100; // where --limit does not say

[[noreturn]] void refuse(const postgres::SqlError &error);
[[noreturn]] void refuse(const postgres::SessionLost &lost);

// What fn throws of the database becomes a Refusal.
template <typename Function> auto asking(Function &&fn) -> decltype(fn()) {
    try {
        return fn();
    } catch (const postgres::SqlError &error) {
        refuse(error);
    } catch (const postgres::SessionLost &lost) {
        refuse(lost);
    }
}

Json documents(const pqxx::result &rows);

// One statement in a transaction of its own: its rows' first column, each a JSON document. Not
// `keep`: what it did is rolled back. Throws Refusal.
template <typename... Values>
Json rows(const DatabaseOptions &options, bool keep, const std::string &sql,
          const Values &...values) {
    return asking([&] {
        const auto session = postgres::open_session(options);
        postgres::Transaction transaction(*session);
        transaction.rows("SET LOCAL search_path = pg_catalog, pg_temp");
        Json all = documents(transaction.rows(sql, values...));
        if (keep)
            transaction.commit();
        return all;
    });
}

// A bytea as JSON has it (\x and digits): the text that it is where it is UTF-8, else as it came.
Json readable(const Json &bytea);

// On stdout, for machines.
void print(const Json &document);

// A member as part of a line; "-" where it is null.
std::string text(const Json &object, const char *name);

} // namespace once::act
