// What extension and relay must agree on to the byte.
#include "extension/wire/column_headers.hpp"
#include "extension/wire/lane_map.hpp"
#include "extension/wire/names.hpp"
#include "extension/wire/snapshot.hpp"
#include "extension/wire/uuid7.hpp"

#include <gtest/gtest.h>

#include <random>

namespace once::wire {
namespace {

TEST(Snapshot, P2SeesWhatHadEnded) {
    const auto snapshot = parse_snapshot("10:20:12,15");
    ASSERT_TRUE(snapshot);
    for (const uint64_t seen : {1, 9, 10, 11, 13, 14, 19})
        EXPECT_TRUE(snapshot->sees(seen)) << seen;
    for (const uint64_t unseen : {12, 15, 20, 21})
        EXPECT_FALSE(snapshot->sees(unseen)) << unseen;
}

TEST(Snapshot, P20BeyondFourBillion) {
    const auto snapshot = parse_snapshot("4294967290:4294967300:4294967295,4294967296");
    ASSERT_TRUE(snapshot);
    EXPECT_TRUE(snapshot->sees(4294967294));
    EXPECT_FALSE(snapshot->sees(4294967296));
    EXPECT_EQ(to_text(*snapshot), "4294967290:4294967300:4294967295,4294967296");
}

TEST(Snapshot, P14RefusesWhatIsNone) {
    for (const char *text : {"", "1", "1:", "1:2", "1:2:,", "1:2:1,", "2:1:", "0:1:", "10:20:9",
                             "10:20:20", "10:20:12,12", "10:20:15,12", "10:20:x", "10:20:12 ",
                             "-1:2:", "10:20:12,15x", "99999999999999999999:1:"})
        EXPECT_FALSE(parse_snapshot(text)) << text;
    for (const char *text : {"1:1:", "3:3:", "10:20:", "10:20:10", "10:20:10,19"})
        EXPECT_EQ(to_text(parse_snapshot(text).value()), text);
}

TEST(Headers, P19ComeBackAsTheyWere) {
    const std::vector<Header> headers = {
        {"trace", "abc"}, {"ü", ""}, {"n", std::string_view("\0\xff", 2)}, {"none", {}}};
    const std::string bytes = encode_headers(headers);
    EXPECT_EQ(decode_headers(bytes), headers);
    EXPECT_EQ(encode_headers({{"a", "b"}}), std::string("\0\1a\0\0\0\1b", 8));
    EXPECT_TRUE(decode_headers("")->empty());
    for (size_t cut = 1; cut < bytes.size(); ++cut)
        if (const auto part = decode_headers(std::string_view(bytes).substr(0, cut))) {
            EXPECT_LT(part->size(), headers.size()) << cut;
        }
}

TEST(Headers, AnyBytesAreReadWithinTheirBounds) {
    std::mt19937 chance(1);
    for (int round = 0; round < 20000; ++round) {
        std::string bytes(chance() % 40, '\0');
        for (char &byte : bytes)
            byte = static_cast<char>(chance() % 4 ? 0 : chance());
        if (const auto headers = decode_headers(bytes)) {
            EXPECT_EQ(encode_headers(*headers), bytes);
        }
    }
}

TEST(Headers, ReservedAndBadNames) {
    EXPECT_EQ(check_header_name("trace"), HeaderFault::none);
    EXPECT_EQ(check_header_name("once"), HeaderFault::none);
    EXPECT_EQ(check_header_name("once-id"), HeaderFault::reserved_name);
    EXPECT_EQ(check_header_name(""), HeaderFault::empty_name);
    EXPECT_EQ(check_header_name("a\n"), HeaderFault::control_character);
    EXPECT_EQ(check_header_name(std::string(256, 'n')), HeaderFault::long_name);
}

TEST(Names, TopicsAreKafkas) {
    for (const char *good : {"a", "A-z_0.9", "..."})
        EXPECT_TRUE(valid_topic(good)) << good;
    for (const char *bad : {"", ".", "..", "a b", "a/b", "\xc3\xa4"})
        EXPECT_FALSE(valid_topic(bad)) << bad;
    EXPECT_TRUE(valid_topic(std::string(249, 't')));
    EXPECT_FALSE(valid_topic(std::string(250, 't')));
}

TEST(Names, TopicsOfKafkaAndOfTheRelayAreReserved) {
    for (const char *ours : {"once.positions", "__consumer_offsets", "__transaction_state",
                             "__share_group_state", "__cluster_metadata"})
        EXPECT_TRUE(valid_topic(ours) && reserved_topic(ours)) << ours;
    for (const char *free : {"", "positions", "once.positions2", "Once.Positions", "__mine"})
        EXPECT_FALSE(reserved_topic(free)) << free;
}

// These values must never change: events of a key would change their slot.
TEST(Lanes, P2AreTheSameForEver) {
    EXPECT_EQ(stable_hash(""), stable_hash(std::string_view()));
    EXPECT_EQ(slot_of("order-1"), 70);
    std::array<int, 8> found{};
    for (int i = 0; i < 8000; ++i)
        ++found[static_cast<size_t>(slot_of("key-" + std::to_string(i)) % 8)];
    for (const int count : found)
        EXPECT_NEAR(count, 1000, 150);
    EXPECT_EQ(stable_hash("order-1"), 13892068806328221254ULL);
}

TEST(Children, FollowTheGenerations) {
    EXPECT_EQ(child_of(0, 10, 3), 0);
    EXPECT_EQ(child_of(9, 10, 3), 0);
    EXPECT_EQ(child_of(10, 10, 3), 1);
    EXPECT_EQ(child_of(30, 10, 3), 0);
}

TEST(Uuid7, CarriesTimeVersionAndVariant) {
    const unsigned char random[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const Uuid id = uuid7(1'000'001'999, random); // 1,000,001 ms and 999 µs
    EXPECT_EQ(id[3] << 16 | id[4] << 8 | id[5], 1'000'001 & 0xffffff);
    EXPECT_EQ(id[6] >> 4, 7);
    EXPECT_EQ(id[8] >> 6, 2);
    EXPECT_LT(uuid7(1'000'001'000, random), id) << "rises within the millisecond";
}

} // namespace
TEST(Snapshot, P13EndIsBehindTheLastOneSeen) {
    EXPECT_EQ(once::wire::parse_snapshot("10:20:")->end(), 20u);
    EXPECT_EQ(once::wire::parse_snapshot("10:20:10,15")->end(), 20u);
    EXPECT_EQ(once::wire::parse_snapshot("10:20:15,18,19")->end(), 18u);
    EXPECT_EQ(once::wire::parse_snapshot("18:20:18,19")->end(), 18u);
}

} // namespace once::wire
