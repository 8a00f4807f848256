// What the server said is shown as one line with its hint, without the statement it was about.
#include "relay/postgres/server_error.hpp"

#include <gtest/gtest.h>

namespace once::postgres {
namespace {

TEST(ServerError, MessageDetailAndHintAreTakenApart) {
    const ServerError parsed = parse_server_error(
        "ERROR:  lane 7 does not exist\nLINE 1: SELECT once.identity(7)\n               ^\n"
        "DETAIL:  There is one.\nHINT:  once.set_lanes sets their number.\nCONTEXT:  PL/pgSQL "
        "function\n");
    EXPECT_EQ(parsed.message, "lane 7 does not exist");
    EXPECT_EQ(parsed.detail, "There is one.");
    EXPECT_EQ(parsed.hint, "once.set_lanes sets their number.");
}

TEST(ServerError, AnyTextGivesItsFirstLine) {
    EXPECT_EQ(parse_server_error("FATAL:  terminating connection").message,
              "terminating connection");
    EXPECT_EQ(parse_server_error("lost synchronisation\nmore").message, "lost synchronisation");
    EXPECT_EQ(parse_server_error("").message, "");
}

TEST(ServerError, TheStateStandsInTheVerboseTextInAnyLanguage) {
    const ServerError parsed = parse_server_error(
        "FEHLER:  55P03: konnte Sperre nicht setzen\nORT:  LockAcquire, lock.c:99\n");
    EXPECT_EQ(parsed.state, "55P03");
    EXPECT_EQ(parsed.message, "konnte Sperre nicht setzen");
    EXPECT_EQ(parse_server_error("no: this is said so").message, "no: this is said so");
    EXPECT_EQ(server_error(pqxx::sql_error("ERROR:  ON040: no", "SELECT 1")).state, "ON040");
}

} // namespace
} // namespace once::postgres
