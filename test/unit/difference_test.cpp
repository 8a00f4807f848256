#include "relay/outbox/difference.hpp"

#include "relay/process/backoff.hpp"
#include "relay/process/crash_point.hpp"
#include "relay/postgres/copy_row.hpp"
#include "relay/postgres/session_lost.hpp"
#include "relay/kafka/classify.hpp"
#include "relay/outbox/dead_letters.hpp"

#include <gtest/gtest.h>

#include <set>

namespace once::outbox {
namespace {

Difference difference(const std::string &before, const std::string &now) {
    return {0, *wire::parse_snapshot(before), *wire::parse_snapshot(now), before, now};
}

bool has(const std::string &text, const std::string &part) {
    return text.find(part) != std::string::npos;
}

TEST(DifferenceSql, P2CoversNewTransactionsAndThoseThatWereRunning) {
    const std::string sql = difference("10:20:10,15", "15:30:15,25").narrow(7);
    EXPECT_TRUE(has(sql, "xid >= '20'::xid8 AND xid < '30'::xid8")) << sql;
    EXPECT_TRUE(has(sql, "pg_visible_in_snapshot(xid, '15:30:15,25')")) << sql; // 25 runs still
    EXPECT_TRUE(has(sql, "xid = ANY ('{10}'::xid8[])")) << sql;                 // 15 runs still
    EXPECT_TRUE(has(sql, "LIMIT 7")) << sql;
    EXPECT_TRUE(has(sql, "ORDER BY seq")) << sql;
}

TEST(DifferenceSql, P15NothingCanBeInItWhenNothingEnded) {
    EXPECT_FALSE(difference("10:20:10", "10:20:10").possible());
    EXPECT_TRUE(difference("10:20:10", "20:20:").possible());
    EXPECT_TRUE(difference("10:20:10", "10:21:10").possible());
}

TEST(DifferenceSql, P16SlicesGoOnBehindTheLastSeq) {
    const std::string sql = difference("3:3:", "9:9:").wide(41, 100, 5);
    EXPECT_TRUE(has(sql, "seq > 41 AND seq <= 100")) << sql;
    EXPECT_TRUE(has(sql, "NOT pg_visible_in_snapshot(xid, '3:3:')")) << sql;
    EXPECT_TRUE(has(sql, "ORDER BY seq LIMIT 5")) << sql;
}

TEST(DifferenceSql, P16LowerBoundLooksAtThoseThatWereRunning) {
    EXPECT_EQ(difference("3:3:", "9:9:").lowest_of_running(), "SELECT NULL::bigint");
    EXPECT_TRUE(has(difference("3:8:4", "9:9:").lowest_of_running(), "'{4}'::xid8[]"));
}

TEST(CopyRow, P19NullAndEmptyDifferAndCutOffRowsAreRefused) {
    const std::string row("\0\0\0\0\xff\xff\xff\xff\0\0\0\x02hi", 14);
    postgres::RowReader reader(row);
    EXPECT_EQ(reader.field(), std::string_view(""));
    EXPECT_EQ(reader.field(), std::nullopt);
    EXPECT_EQ(reader.field(), std::string_view("hi"));
    EXPECT_THROW(reader.field(), postgres::SessionLost);
    postgres::RowReader cut(std::string_view(row).substr(8, 5));
    EXPECT_THROW(cut.field(), postgres::SessionLost);
}

TEST(CopyRow, P19AMessageHasOneRowOrNone) {
    const std::string header("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
    EXPECT_EQ(postgres::row_of_message(header), std::nullopt);
    EXPECT_EQ(postgres::row_of_message("\xff\xff"), std::nullopt);
    EXPECT_EQ(postgres::row_of_message(header + std::string("\0\1row", 5)), "row");
    EXPECT_EQ(postgres::row_of_message(std::string_view("\0\1row", 5)), "row");
    EXPECT_THROW(postgres::row_of_message("x"), postgres::SessionLost);
    EXPECT_THROW(postgres::row_of_message(header.substr(0, 18)), postgres::SessionLost);
}

std::string event_row(std::int64_t time_us, const std::string &behind = {}) {
    const auto number = [](std::uint64_t value, int bytes) {
        std::string text;
        for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
            text += static_cast<char>(value >> shift);
        return text;
    };
    const std::string null = number(0xffffffff, 4);
    return number(8, 4) + number(7, 8) + number(16, 4) + std::string(16, 'i') + number(1, 4) + "t" +
           null + null + null + null + number(8, 4) +
           number(static_cast<std::uint64_t>(time_us), 8) + number(1, 4) + "j" + behind;
}

TEST(EventRow, P19AnyTimeIsATime) {
    EXPECT_EQ(decode_event(event_row(0)).time_ms, 946684800000);
    EXPECT_EQ(decode_event(event_row(-1)).time_ms, 946684799999);
    EXPECT_EQ(decode_event(event_row(-1000)).time_ms, 946684799999);
    // '-infinity' and 'infinity'
    EXPECT_EQ(decode_event(event_row(INT64_MIN)).time_ms, INT64_MIN / 1000 - 1 + 946684800000);
    EXPECT_EQ(decode_event(event_row(INT64_MAX)).time_ms, INT64_MAX / 1000 + 946684800000);
}

TEST(EventRow, P19MoreThanTheColumnsIsNoEvent) {
    EXPECT_EQ(decode_event(event_row(0)).seq, 7);
    EXPECT_EQ(decode_event(event_row(0)).form, 'j');
    EXPECT_THROW(decode_event(event_row(0, "x")), postgres::SessionLost);
    EXPECT_THROW(decode_event(event_row(0).substr(0, 69)), postgres::SessionLost);
}

TEST(BackoffWaits, P26GrowToTheCeilingAndStartAgain) {
    using std::chrono::milliseconds;
    Backoff backoff(milliseconds(20), milliseconds(100));
    for (int i = 0; i < 10; ++i) {
        const auto wait = backoff.next();
        EXPECT_GE(wait, milliseconds(10));
        EXPECT_LE(wait, milliseconds(100));
    }
    EXPECT_GE(backoff.next(), milliseconds(50));
    backoff.reset();
    EXPECT_LE(backoff.next(), milliseconds(20));
}

TEST(CrashPoints, P3EachHasANameOfItsOwn) {
    const std::set<std::string_view> names(kCrashPointNames.begin(), kCrashPointNames.end());
    EXPECT_EQ(names.size(), kCrashPointNames.size());
    EXPECT_FALSE(names.count("")); // a point without its name
}

TEST(DeadLettersKept, P18ANullKeyHoldsNothingElse) {
    DeadLetters letters;
    Event event;
    event.seq = 1;
    event.topic = "t";
    letters.park(event, true);
    EXPECT_TRUE(letters.is_parked(1));
    EXPECT_FALSE(letters.is_held(event));
    event.key = "";
    letters.park(event, true);
    EXPECT_FALSE(letters.is_held(event)); // held is what comes after it
    event.seq = 2;
    EXPECT_TRUE(letters.is_held(event)); // an empty key is a key
    event.topic = "u";
    EXPECT_FALSE(letters.is_held(event));
}

TEST(Classifier, R5ByFlags) {
    EXPECT_EQ(kafka::classify(nullptr), Outcome::ok);
    const kafka::Error plain(rd_kafka_error_new(RD_KAFKA_RESP_ERR__FAIL, "no flag"));
    EXPECT_EQ(kafka::classify(plain.get()), Outcome::fatal);
    EXPECT_EQ(kafka::undelivered(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT), kafka::Undelivered::transient);
    EXPECT_EQ(kafka::undelivered(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE),
              kafka::Undelivered::message);
    EXPECT_EQ(kafka::undelivered(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED),
              kafka::Undelivered::topic);
}

} // namespace
} // namespace once::outbox
