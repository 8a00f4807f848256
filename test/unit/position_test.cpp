#include "relay/outbox/position.hpp"

#include "relay/outbox/event.hpp"

#include <gtest/gtest.h>

namespace once::outbox {
namespace {

Position sample() {
    Position p;
    p.incarnation = "7718ebe9-5cd0-4dc1-a6a9-08bf7aa4f043";
    p.database_oid = 4000000000u;
    p.system_identifier = "18446744073709551615";
    p.timeline = 3;
    p.lsn = "1A/FF";
    p.s_prev = "10:20:12,15";
    p.s_now = "12:30:12";
    p.slice_seq = 9007199254740993; // does not fit into a double
    p.last_seq = 9007199254740993;
    p.last_id = "01a20462-cb4d-7d5c-bc1d-1dfa62aa9a9a";
    p.redrive_no = 4;
    p.mode = "missing";
    p.counter = 9007199254740995;
    p.time = "2026-01-31T12:00:00Z";
    return p;
}

TEST(PositionRecord, P14SurvivesARoundTrip) {
    EXPECT_EQ(decode_position(encode(sample())), sample());
    Position genesis = sample();
    genesis.s_prev.reset();
    genesis.slice_seq.reset();
    genesis.last_seq.reset();
    genesis.last_id.reset();
    genesis.mode.reset();
    EXPECT_EQ(decode_position(encode(genesis)), genesis);
}

TEST(PositionRecord, P14NumbersThatDoNotFitADoubleAreText) {
    EXPECT_NE(encode(sample()).find("\"9007199254740993\""), std::string::npos);
}

TEST(PositionRecord, P14UnreadableIsSaidAndNeverGuessed) {
    const std::string good = encode(sample());
    const auto with = [&](const std::string &from, const std::string &to) {
        std::string text = good;
        const auto at = text.find(from);
        EXPECT_NE(at, std::string::npos) << from;
        return text.replace(at, from.size(), to);
    };
    for (const std::string &bad :
         {std::string(),
          std::string("null"),
          std::string("[]"),
          good.substr(0, good.size() - 1),
          with("\"format\":1", "\"format\":2"),
          with("\"s_now\":\"12:30:12\"", "\"s_now\":\"30:12:\""),
          with("\"s_now\":\"12:30:12\"", "\"s_now\":null"),
          with("\"counter\":", "\"kounter\":"),
          with("\"9007199254740995\"", "9007199254740995"),
          with("\"9007199254740995\"", "\"12x\""),
          with("\"9007199254740995\"", "\"-1\""),
          with("\"redrive_no\":\"4\"", "\"redrive_no\":null"),
          with("\"10:20:12,15\"", "null"),
          with("\"last_id\":\"01a20462-cb4d-7d5c-bc1d-1dfa62aa9a9a\"", "\"last_id\":null"),
          with("7718ebe9", "7718ebeg"),
          with("\"format\":1", "\"format\":4294967297"),
          with("\"format\":1", "\"format\":true"),
          with("4000000000", "-1"),
          with("4000000000", "8294967296"),
          with("4000000000", "4000000000.5"),
          with("\"timeline\":3", "\"timeline\":true"),
          with("1A/FF", "nowhere"),
          with("1A/FF", ""),
          with("1A/FF", "1A/123456789"),
          with("01a20462", "01a20462-")})
        EXPECT_THROW(static_cast<void>(decode_position(bad)), UnreadablePosition) << bad;
}

TEST(PositionRecord, I7RegressionIsSeen) {
    const Position last = sample();
    Position next = last;
    EXPECT_FALSE(regression(last, next));
    next.counter -= 1;
    EXPECT_TRUE(regression(last, next));
    next = last;
    next.redrive_no = 3;
    EXPECT_TRUE(regression(last, next));
    next = last;
    next.s_now = "12:29:12";
    EXPECT_TRUE(regression(last, next));
}

TEST(PositionRecord, P23TrimmingReliesOnFinishedDifferences) {
    Position p = sample();
    ASSERT_NE(p.passed(), nullptr);
    EXPECT_EQ(*p.passed(), "10:20:12,15");
    p.slice_seq.reset();
    EXPECT_EQ(*p.passed(), "12:30:12");
}

TEST(UuidText, P19BothWays) {
    const std::string text = "01a20462-cb4d-7d5c-bc1d-1dfa62aa9a9a";
    ASSERT_TRUE(uuid_from_text(text));
    EXPECT_EQ(to_text(*uuid_from_text(text)), text);
    for (const char *bad :
         {"", "01a20462-cb4d-7d5c-bc1d-1dfa62aa9a9", "01a20462+cb4d-7d5c-bc1d-1dfa62aa9a9a",
          "01a20462-cb4d-7d5c-bc1d-1dfa62aa9a9g"})
        EXPECT_FALSE(uuid_from_text(bad)) << bad;
}

} // namespace
} // namespace once::outbox
