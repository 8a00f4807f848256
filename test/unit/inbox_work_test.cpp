#include "relay/inbox/arrays.hpp"
#include "relay/inbox/work.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace once::inbox {
namespace {

Message numbered(std::int64_t offset, std::int32_t partition = 0) {
    Message message;
    message.topic = "t";
    message.partition = partition;
    message.offset = offset;
    return message;
}

std::vector<std::int64_t> offsets(std::span<const Message> part) {
    std::vector<std::int64_t> numbers;
    for (const Message &message : part)
        numbers.push_back(message.offset);
    return numbers;
}

TEST(InboxWork, HalvesUntilTheOneToBlameStandsAlone) {
    Work work;
    for (int i = 0; i < 4; ++i)
        work.add(numbered(i));
    EXPECT_EQ(offsets(work.current()), (std::vector<std::int64_t>{0, 1, 2, 3}));
    EXPECT_TRUE(work.split());
    EXPECT_EQ(offsets(work.current()), (std::vector<std::int64_t>{0, 1}));
    work.done();
    EXPECT_EQ(offsets(work.current()), (std::vector<std::int64_t>{2, 3}));
    EXPECT_TRUE(work.split());
    EXPECT_EQ(offsets(work.current()), (std::vector<std::int64_t>{2}));
    EXPECT_FALSE(work.split());
    work.done();
    work.done();
    EXPECT_TRUE(work.empty());
    EXPECT_EQ(work.bytes(), 0u);
}

// Whatever is refused: every message is dealt with exactly once, in order, and only bad ones alone.
TEST(InboxWork, EveryScheduleIsInOrderAndComplete) {
    std::mt19937 random(20260131);
    for (int round = 0; round < 500; ++round) {
        const int count = 1 + static_cast<int>(random() % 60);
        std::set<std::int64_t> bad;
        for (int i = 0; i < count; ++i)
            if (random() % 7 == 0)
                bad.insert(i);
        Work work;
        for (int i = 0; i < count; ++i)
            work.add(numbered(i));
        std::vector<std::int64_t> applied, parked;
        int steps = 0;
        while (!work.empty()) {
            ASSERT_LT(++steps, 2000);
            const auto part = offsets(work.current());
            ASSERT_FALSE(part.empty());
            const bool refused = std::any_of(part.begin(), part.end(),
                                             [&](auto offset) { return bad.contains(offset); });
            if (refused && work.split())
                continue;
            (refused ? parked : applied)
                .insert((refused ? parked : applied).end(), part.begin(), part.end());
            work.done();
        }
        EXPECT_TRUE(std::is_sorted(applied.begin(), applied.end()));
        EXPECT_EQ(parked, std::vector<std::int64_t>(bad.begin(), bad.end()));
        EXPECT_EQ(applied.size() + parked.size(), static_cast<std::size_t>(count));
    }
}

TEST(InboxWork, DroppedPartitionLeavesTheOthersInOrder) {
    Work work;
    for (int i = 0; i < 6; ++i)
        work.add(numbered(i, i % 2));
    EXPECT_TRUE(work.split());
    work.done(); // 0, 1, 2
    EXPECT_TRUE(work.split());
    work.drop({"t", 1});
    EXPECT_EQ(offsets(work.current()), (std::vector<std::int64_t>{4}));
    work.drop({"other", 0});
    EXPECT_EQ(work.size(), 1u);
    work.drop({"t", 0});
    EXPECT_TRUE(work.empty());
}

std::string hex(std::string_view bytes) {
    std::string text;
    for (const unsigned char byte : bytes) {
        constexpr char digits[] = "0123456789abcdef";
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

// As array_send() prints them: SELECT encode(array_send(…), 'hex').
TEST(InboxArrays, AsPostgresqlReadsThem) {
    Array numbers(ElementType::int4);
    EXPECT_EQ(hex(numbers.encoded()), "000000000000000000000017");
    numbers.add_int(1);
    numbers.add_null();
    EXPECT_EQ(hex(numbers.encoded()), "0000000100000001000000170000000200000001"
                                      "0000000400000001ffffffff");
    Array bytes(ElementType::bytea);
    bytes.add_bytes(std::string_view("\0\xff", 2));
    bytes.add_bytes("");
    EXPECT_EQ(hex(bytes.encoded()), "0000000100000000000000110000000200000001"
                                    "0000000200ff00000000");
    Array times(ElementType::timestamptz);
    times.add_time(946684800001);
    EXPECT_EQ(hex(times.encoded()), "0000000100000000000004a00000000100000001"
                                    "0000000800000000000003e8");
    Array documents(ElementType::jsonb);
    documents.add_json("{}");
    EXPECT_EQ(hex(documents.encoded()), "000000010000000000000eda0000000100000001"
                                        "00000003017b7d");
    EXPECT_EQ(documents.type(), 3807u);
}

} // namespace
} // namespace once::inbox
