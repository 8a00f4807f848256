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

std::vector<std::int64_t> offsets(const Part &part) {
    std::vector<std::int64_t> numbers;
    for (const Entry &entry : part.entries)
        numbers.push_back(entry.message.offset);
    return numbers;
}

const IdentityRule kOnceId;

TEST(InboxWork, HalvesUntilTheOneToBlameStandsAlone) {
    Work work(kOnceId);
    for (int i = 0; i < 4; ++i)
        work.add(numbered(i), "t");
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
    EXPECT_EQ(work.in_hand().size(), 0u);
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
        Work work(kOnceId);
        for (int i = 0; i < count; ++i)
            work.add(numbered(i), "t");
        std::vector<std::int64_t> applied, parked;
        int steps = 0;
        int taken = count;
        while (!work.empty()) {
            ASSERT_LT(++steps, 2000);
            const auto part = offsets(work.current());
            ASSERT_FALSE(part.empty());
            const bool refused = std::any_of(part.begin(), part.end(),
                                             [&](auto offset) { return bad.contains(offset); });
            for (int more = static_cast<int>(random() % 3); more > 0 && taken < 2 * count; --more) {
                if (random() % 7 == 0)
                    bad.insert(taken);
                work.add(numbered(taken++), "t"); // behind what is tried
            }
            if (refused && work.split())
                continue;
            (refused ? parked : applied)
                .insert((refused ? parked : applied).end(), part.begin(), part.end());
            work.done();
        }
        EXPECT_TRUE(std::is_sorted(applied.begin(), applied.end()));
        EXPECT_EQ(parked, std::vector<std::int64_t>(bad.begin(), bad.end()));
        EXPECT_EQ(applied.size() + parked.size(), static_cast<std::size_t>(taken));
    }
}

TEST(InboxWork, DroppedPartitionLeavesTheOthersInOrder) {
    Work work(kOnceId);
    for (int i = 0; i < 6; ++i)
        work.add(numbered(i, i % 2), "t");
    EXPECT_TRUE(work.split());
    work.done(); // 0, 1, 2
    EXPECT_TRUE(work.split());
    work.drop({"t", 1});
    EXPECT_EQ(offsets(work.current()), (std::vector<std::int64_t>{4}));
    work.drop({"other", 0});
    EXPECT_EQ(work.in_hand().size(), 1u);
    work.drop({"t", 0});
    EXPECT_TRUE(work.empty());
}

// Were a message added to the batch in hand while another stands behind it, the stored offset would
// pass over that one.
TEST(InboxWork, WhatComesMeanwhileIsTheNextBatch) {
    Work work(kOnceId);
    work.add(numbered(0), "t");
    work.add(numbered(1), "t");
    EXPECT_FALSE(work.tried());
    const Part part = work.current();
    EXPECT_TRUE(work.tried());
    for (int i = 2; i < 500; ++i)
        work.add(numbered(i, i % 2), "t");
    EXPECT_EQ(offsets(part), (std::vector<std::int64_t>{0, 1}))
        << "what is applied stays where it is";
    ASSERT_NE(part.whole, nullptr);
    EXPECT_TRUE(work.split());
    EXPECT_EQ(work.current().whole, nullptr) << "a half is not what was encoded";
    work.done();
    work.add(numbered(500, 0), "t");
    work.done();
    EXPECT_FALSE(work.tried());
    EXPECT_EQ(work.in_hand().size(), 499u);
    EXPECT_NE(work.current().whole, nullptr);
    work.add(numbered(501, 1), "t");
    work.drop({"t", 1}); // from both
    EXPECT_EQ(work.current().entries.size(), 250u);
    EXPECT_EQ(work.current().whole, &work.in_hand());
    EXPECT_EQ(work.next().size(), 0u);
    work.add(numbered(502, 0), "t");
    work.drop({"t", 0});
    EXPECT_TRUE(work.empty());
    EXPECT_FALSE(work.tried());
}

TEST(InboxWork, ADroppedBatchMakesRoomForTheNext) {
    Work work(kOnceId);
    work.add(numbered(0, 0), "t");
    EXPECT_EQ(work.current().entries.size(), 1u);
    work.add(numbered(7, 1), "t");
    work.drop({"t", 0});
    EXPECT_EQ(offsets(work.current()), (std::vector<std::int64_t>{7}));
    work.clear();
    EXPECT_TRUE(work.empty());
}

TEST(InboxBatch, KnowsWhichIdsAreWhose) {
    Batch batch;
    const auto add = [&](std::int64_t offset, const char *id) {
        Message message = numbered(offset, static_cast<std::int32_t>(offset % 2));
        if (id != nullptr)
            message.headers.push_back({"once-id", id});
        batch.add(message, kOnceId, "t");
    };
    add(0, nullptr);
    add(1, "0199c1a0-5c3e-7bbb-8123-0123456789ab");
    EXPECT_TRUE(batch.ids.only_uuids());
    EXPECT_EQ(batch.ids.number_of(1), 1u);
    add(2, "no uuid");
    add(3, "0199c1a0-5c3e-7bbb-8123-0123456789ac");
    EXPECT_FALSE(batch.ids.only_uuids());
    EXPECT_EQ(batch.ids.ids().size(), 3);
    EXPECT_EQ(batch.ids.number_of(3), 3u);
    batch.drop({"t", 0}, 0); // 0 and 2
    EXPECT_TRUE(batch.ids.only_uuids());
    EXPECT_EQ(batch.ids.ids().size(), 2);
    EXPECT_EQ(batch.ids.number_of(2), 1u);
    EXPECT_EQ(batch.entries()[1].message.offset, 3);
    batch.clear();
    EXPECT_TRUE(batch.ids.empty());
    EXPECT_EQ(batch.bytes(), 0u);
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
