#include "relay/inbox/message.hpp"

#include <gtest/gtest.h>

namespace once::inbox {
namespace {

const IdentityRule kOnceId;

Message message_with(std::vector<Header> headers) {
    Message message;
    message.topic = "orders";
    message.partition = 3;
    message.offset = 42;
    message.headers = std::move(headers);
    return message;
}

Identity identify(const Message &message, const IdentityRule &rule) {
    return inbox::identify(message, rule, message.topic);
}

TEST(InboxMessage, OnceIdAndPositionOfTheSender) {
    const auto identity =
        identify(message_with({{"once-id", "0199c1a0-5c3e-7bbb-8123-0123456789ab"},
                               {"once-source", "0199c1a0-5c3e-4bbb-8123-0123456789ab/0"},
                               {"once-position", "17"}}),
                 kOnceId);
    EXPECT_TRUE(identity.from_sender);
    EXPECT_EQ(identity.id, "0199c1a0-5c3e-7bbb-8123-0123456789ab");
    // F14: one source over several partitions is several sources
    EXPECT_EQ(identity.source, "0199c1a0-5c3e-4bbb-8123-0123456789ab/0/orders/3");
    EXPECT_EQ(identity.position, 17);
}

TEST(InboxMessage, ForeignMessageIsKnownByItsPlace) {
    const auto identity = identify(message_with({{"type", "created"}}), kOnceId);
    EXPECT_FALSE(identity.from_sender);
    EXPECT_EQ(identity.id, "orders/3/42");
    EXPECT_EQ(identity.source, "orders/3");
    EXPECT_EQ(identity.position, 42);
}

TEST(InboxMessage, F12ForeignMessageOfATopicThatWasMadeAgain) {
    const auto foreign = identify(message_with({}), kOnceId, "orders/tXy");
    EXPECT_EQ(foreign.id, "orders/tXy/3/42");
    EXPECT_EQ(foreign.source, "orders/tXy/3");
    // Positions of the sender rise over both topics.
    EXPECT_EQ(identify(message_with({{"once-source", "s/0"}, {"once-position", "1"}}), kOnceId,
                       "orders/tXy")
                  .source,
              "s/0/orders/3");
}

// A stream processor copies headers to what it makes of a message: as ids they would drop it.
TEST(InboxMessage, US2HeadersOfAnotherTopicAreACopy) {
    const std::vector<Header> copied = {{"once-id", "0199c1a0-5c3e-7bbb-8123-0123456789ab"},
                                        {"once-source", "s/0"},
                                        {"once-position", "17"},
                                        {"once-topic", "other"}};
    const auto identity = identify(message_with(copied), kOnceId);
    EXPECT_FALSE(identity.from_sender);
    EXPECT_EQ(identity.id, "orders/3/42");
    EXPECT_EQ(identity.source, "orders/3");
    EXPECT_EQ(identity.position, 42);
    auto own = copied;
    own.push_back({"order-id", "7"});
    EXPECT_EQ(identify(message_with(own), {{"order-id"}, {}, false}).id, "7");
    auto written_here = copied;
    written_here.back().value = "orders";
    EXPECT_EQ(identify(message_with(written_here), kOnceId).source, "s/0/orders/3");
}

TEST(InboxMessage, EmptyIdOrBadPositionIsNone) {
    EXPECT_FALSE(identify(message_with({{"once-id", ""}}), kOnceId).from_sender);
    EXPECT_FALSE(identify(message_with({{"once-id", std::nullopt}}), kOnceId).from_sender);
    for (const char *position : {"", "-1", "1x", "99999999999999999999"})
        EXPECT_EQ(
            identify(message_with({{"once-source", "s/0"}, {"once-position", position}}), kOnceId)
                .source,
            "orders/3");
}

TEST(InboxMessage, LastHeaderOfANameCounts) {
    EXPECT_EQ(identify(message_with({{"once-id", "a"}, {"once-id", "b"}}), kOnceId).id, "b");
}

TEST(InboxMessage, IdOutOfThePayload) {
    Message message = message_with({{"once-id", "header"}});
    const IdentityRule rule{{"once-id"}, {"/order/id"}, false};
    message.payload = R"({"order": {"id": 900719925474099267}})";
    EXPECT_EQ(identify(message, rule).id, "900719925474099267");
    message.payload = R"({"order": {"id": "A-1"}})";
    EXPECT_EQ(identify(message, rule).id, "A-1");
    message.payload = R"({"order": {"id": "A\u0000B"}})"; // no text of PostgreSQL has a NUL
    EXPECT_EQ(identify(message, rule).id, "\\x410042");
    for (const char *other : {R"({"order": {}})", R"({"order": {"id": null}})", "no json", "[1]"}) {
        message.payload = other;
        EXPECT_EQ(identify(message, rule).id, "header") << other;
    }
    message.payload = std::nullopt;
    EXPECT_EQ(identify(message, rule).id, "header");
}

TEST(InboxMessage, TextIsTextAndOtherBytesAreHexadecimal) {
    for (const std::string text :
         {"", "plain", "\xc3\xa4", "\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x8f\xbf\xbf", "\x7f"})
        EXPECT_EQ(as_text(text), text);
    EXPECT_EQ(as_text(std::string_view("a\0b", 3)), "\\x610062");
    for (const std::string bytes :
         {"\xff", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
          "\xf8\x88\x80\x80\x80", "a\x80", "\xe2\x82"})
        EXPECT_EQ(as_text(bytes).substr(0, 2), "\\x") << bytes;
    EXPECT_EQ(as_text("\xff\x01"), "\\xff01");
}

TEST(InboxMessage, HeadersAsJson) {
    EXPECT_EQ(headers_json({}), std::nullopt);
    EXPECT_EQ(headers_json({{"once-id", "x"}}), std::nullopt);
    EXPECT_EQ(headers_json({{"a", "1"}, {"once-id", "x"}, {"b", std::nullopt}}),
              R"({"a": "1", "b": null})");
    EXPECT_EQ(headers_json({{"a", "1"}, {"b", "2"}, {"a", std::nullopt}}),
              R"({"a": ["1", null], "b": "2"})");
    EXPECT_EQ(headers_json({{"quote\"", "back\\ line\n"}}), R"({"quote\"": "back\\ line\u000a"})");
    // Two names that are one as text: jsonb would keep the last value alone.
    EXPECT_EQ(headers_json({{"\xff", "1"}, {"b", "2"}, {"\\xff", "3"}}),
              R"({"\\xff": ["1", "3"], "b": "2"})");
    EXPECT_EQ(headers_json({{"binary", std::string_view("\xff\0", 2)}}),
              R"({"binary": {"$bytes": "ff00"}})");
}

TEST(InboxMessage, TimesThatTheDatabaseHas) {
    for (const std::int64_t good : {INT64_C(0), INT64_C(1769860800000), INT64_C(9224318015999999)})
        EXPECT_EQ(time_of(good), good);
    for (const std::int64_t bad : {INT64_C(-1), INT64_C(9224318016000000), INT64_MAX, INT64_MIN})
        EXPECT_EQ(time_of(bad), std::nullopt) << bad;
}

TEST(InboxMessage, UuidBytes) {
    EXPECT_EQ(uuid_bytes("00112233-4455-6677-8899-aabbccddeeff"),
              std::string("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16));
    for (const char *other :
         {"", "00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddeefg",
          "00112233x4455-6677-8899-aabbccddeeff", "0011223304455-6677-8899-aabbccddeeff",
          "00112233-4455-6677-8899-AABBCCDDEEFF"})
        EXPECT_EQ(uuid_bytes(other), std::nullopt) << other;
}

} // namespace
} // namespace once::inbox
