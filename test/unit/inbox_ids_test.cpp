// Ids: of several parts, of any number, and those that are copies of another event's.
#include "relay/inbox/json_ids.hpp"
#include "relay/inbox/message.hpp"

#include <gtest/gtest.h>

#include <set>

namespace once::inbox {
namespace {

Message with_payload(std::string_view payload, std::vector<Header> headers = {}) {
    Message message;
    message.topic = "orders";
    message.partition = 3;
    message.offset = 42;
    message.payload = payload;
    message.headers = std::move(headers);
    return message;
}

TEST(InboxIds, US3AnIdIsUniqueOnlyTogetherWithItsSource) {
    const IdentityRule rule{{"once-id"}, {"/source", "/id"}, false};
    const auto id = [&](const char *payload) {
        return identify(with_payload(payload), rule, "orders");
    };
    EXPECT_EQ(id(R"({"id":"100","source":"/studio"})").id, R"(["/studio","100"])");
    EXPECT_NE(id(R"({"id":"100","source":"/lms"})").id,
              id(R"({"id":"100","source":"/studio"})").id);
    // No two lists are the same text.
    EXPECT_NE(id(R"({"id":"c","source":"a\",\"b"})").id, id(R"({"id":"b\",\"c","source":"a"})").id);
    const Identity half = id(R"({"id":"100"})");
    EXPECT_FALSE(half.from_sender);
    EXPECT_TRUE(half.missing);
    EXPECT_EQ(half.id, "orders/3/42");
}

TEST(InboxIds, US3HeadersLikewiseAndWhetherTheTopicCounts) {
    const IdentityRule rule{{"ce_source", "ce_id"}, {}, false};
    EXPECT_EQ(identify(with_payload("", {{"ce_id", "1"}, {"ce_source", "/a"}}), rule, "orders").id,
              R"(["/a","1"])");
    EXPECT_TRUE(identify(with_payload("", {{"ce_id", "1"}}), rule, "orders").missing);
    const IdentityRule by_topic{{"ce_id"}, {}, true};
    EXPECT_EQ(identify(with_payload("", {{"ce_id", "1"}}), by_topic, "orders").id,
              R"(["orders","1"])");
}

TEST(InboxIds, US4EveryNumberIsExactAndHasOneSpelling) {
    const IdentityRule rule{{"once-id"}, {"/id"}, false};
    const auto id = [&](const std::string &number) {
        const std::string payload = R"({"id": )" + number + "}";
        const Identity identity = identify(with_payload(payload), rule, "orders");
        EXPECT_TRUE(identity.from_sender) << number;
        return identity.id;
    };
    std::set<std::string> different;
    for (const char *number :
         {"9007199254740992", "9007199254740993", "1795292668348461056", "18446744073709551615",
          "18446744073709551616", "18446744073709551617", "123456789012345678901234567890",
          "-9223372036854775809", "0.1", "1e-400", "1e400", "1e401", "-1", "1", "10", "0"})
        EXPECT_TRUE(different.insert(id(number)).second) << number;
    EXPECT_EQ(id("18446744073709551617"), "18446744073709551617");
    for (const char *one : {"1", "1.0", "1.000", "10e-1", "0.1e1", "1E0", "1e+0"})
        EXPECT_EQ(id(one), "1") << one;
    EXPECT_EQ(id("-0"), "0");
    EXPECT_EQ(id("-0.0e5"), "0");
    EXPECT_EQ(id("12.50"), "12.5");
    EXPECT_EQ(id("0.0012"), "0.0012");
    EXPECT_EQ(id("12e3"), "12000");
    EXPECT_EQ(id("1e400"), "1" + std::string(400, '0'));
    EXPECT_EQ(id("1e2000"), "1e2000");
    EXPECT_EQ(id("10e1999"), "1e2000");
    EXPECT_EQ(id("1e99999999999999999999"), "1e1000000000000");
}

TEST(InboxIds, US4PointersReadAsRfc6901Says) {
    const auto at = [](std::string_view json, const std::string &pointer) {
        return json_ids(json, {pointer}).front();
    };
    EXPECT_EQ(at(R"({"a/b": {"~": "x"}})", "/a~1b/~0"), "x");
    EXPECT_EQ(at(R"({"a": [1, {"b": 2}]})", "/a/1/b"), "2");
    EXPECT_EQ(at(R"({"": 5})", "/"), "5");
    EXPECT_EQ(at(R"({"\u0061": 5})", "/a"), "5");
    EXPECT_EQ(at(R"({"a": 1, "a": 2})", "/a"), "2") << "as jsonb has it";
    EXPECT_EQ(at(R"({"a": {"b": 1}, "a": {}})", "/a/b"), std::nullopt);
    EXPECT_EQ(at(R"({"a": {"b": 1}, "a": 3})", "/a/b"), std::nullopt);
    EXPECT_EQ(at("\xef\xbb\xbf{\"a\": 1}", "/a"), "1");
    EXPECT_EQ(at(R"([10, 11])", "/01"), std::nullopt);
    for (const char *none : {R"({"a": null})", R"({"a": true})", R"({"a": []})", R"({"b": 1})"})
        EXPECT_EQ(at(none, "/a"), std::nullopt) << none;
    const auto several = json_ids(R"({"id": 7, "source": "s"})", {"/source", "/id", "/none"});
    EXPECT_EQ(several[0], "s");
    EXPECT_EQ(several[1], "7");
    EXPECT_EQ(several[2], std::nullopt);
}

TEST(InboxIds, US4WhatIsNoJsonHasNoId) {
    for (const char *bad : {"",
                            "{",
                            R"({"a": 1)",
                            R"({"a": 1}})",
                            R"({"a": 1,})",
                            R"({"a": 01})",
                            R"({"a": .5})",
                            R"({"a": 1.})",
                            R"({"a": 1e})",
                            R"({"a": +1})",
                            R"({"a": NaN})",
                            R"({"a": "x)",
                            R"({"a": "x" "b": 1})",
                            R"({a: 1})",
                            "{\"a\": \"\n\"}",
                            R"({"a": "\x"})",
                            R"({"a": 1} x)",
                            R"([1 2])",
                            R"({"a": -})",
                            "nul"})
        EXPECT_EQ(json_ids(bad, {"/a"}).front(), std::nullopt) << bad;
    EXPECT_EQ(json_ids(std::string(1'000'000, '['), {"/a"}).front(), std::nullopt) << "bounded";
}

TEST(InboxIds, US2HeadersThatWereCopiedCountForNothing) {
    const std::vector<Header> headers = {{"once-id", "0199c1a0-5c3e-7bbb-8123-0123456789ab"},
                                         {"once-source", "s/0"},
                                         {"once-position", "1"},
                                         {"once-topic", "another"}};
    const Identity copy = identify(with_payload("", headers), {}, "orders");
    EXPECT_FALSE(copy.from_sender);
    EXPECT_TRUE(copy.missing);
    EXPECT_EQ(copy.id, "orders/3/42");
    EXPECT_EQ(copy.source, "orders/3");
    std::vector<Header> own = headers;
    own.back().value = "orders";
    EXPECT_TRUE(identify(with_payload("", own), {}, "orders").from_sender);
    // The application's own id is no copy.
    const IdentityRule rule{{"event-id"}, {}, false};
    std::vector<Header> both = headers;
    both.push_back({"event-id", "e1"});
    EXPECT_EQ(identify(with_payload("", both), rule, "orders").id, "e1");
}

TEST(InboxIds, US4AMessageThatNobodyAskedAnIdOfMissesNone) {
    EXPECT_FALSE(identify(with_payload("x"), {}, "orders").missing);
    EXPECT_TRUE(identify(with_payload("x"), {{"event-id"}, {}, false}, "orders").missing);
    const std::string long_id(2000, 'x');
    EXPECT_TRUE(identify(with_payload("x", {{"once-id", long_id}}), {}, "orders").missing);
}

} // namespace
} // namespace once::inbox
