// The controller of the batch size, against simulated links and brokers: whatever they are like, it
// ends up shipping, does not repeat what failed, and begins no more than five seconds' worth.
#include "relay/outbox/batch_size.hpp"

#include <gtest/gtest.h>

#include <random>

namespace once::outbox {
namespace {

constexpr ReadSize kMost{20000, 16u << 20};

// A link of so many bytes a second, a queue of so many messages, a limit of so many bytes.
struct World {
    double bytes_per_second = 1e9;
    std::size_t queue = SIZE_MAX;
    std::size_t limit = SIZE_MAX;
    std::size_t event = 200; // bytes

    ReadSize batch(ReadSize allowed) const {
        const std::size_t rows =
            std::max<std::size_t>(1, std::min(allowed.rows, allowed.bytes / event));
        return {rows, rows * event};
    }
    double seconds(ReadSize size) const {
        return 0.01 + static_cast<double>(size.bytes) / bytes_per_second;
    }
    bool takes(ReadSize size) const {
        return seconds(size) < 15 && size.rows <= queue && size.bytes <= limit;
    }
};

struct Shipped {
    std::size_t events = 0, failures = 0;
    double longest = 0; // seconds, of those begun after the rate was seen
};

Shipped ship(const World &world, int transactions) {
    BatchSize size(kMost);
    Shipped run;
    bool seen = false;
    for (int i = 0; i < transactions; ++i) {
        const ReadSize allowed = size.next();
        const ReadSize batch = world.batch(allowed);
        if (seen && batch.rows > 1)
            run.longest = std::max(run.longest, world.seconds(batch));
        if (!world.takes(batch)) {
            ++run.failures;
            size.failed(batch);
            const ReadSize next = size.next();
            EXPECT_TRUE(next.rows < batch.rows || batch.rows == 1);
            EXPECT_TRUE(next.bytes < batch.bytes || next.bytes <= 1000);
            continue;
        }
        run.events += batch.rows;
        const auto took = BatchSize::Span(static_cast<long>(world.seconds(batch) * 1000));
        seen = seen || took >= BatchSize::Span(1000);
        size.passed(batch, took, true);
    }
    return run;
}

TEST(BatchSize, RE3SlowLinkGetsWhatItCanCarry) {
    for (const double rate : {20e3, 100e3, 1e6, 10e6}) {
        const Shipped run = ship({.bytes_per_second = rate, .event = 1000}, 200);
        EXPECT_GT(run.events, 200u) << rate;
        EXPECT_LE(run.failures, 12u) << rate; // halves from 16 MB, and no more
        EXPECT_LE(run.longest, 5.2) << rate;
    }
}

TEST(BatchSize, RE3bWhatDoesNotFitIsTriedLessAndLess) {
    const Shipped run = ship({.queue = 10000}, 4000);
    EXPECT_LE(run.failures, 12u);
    EXPECT_GT(run.events, 4000u * 5000);
}

TEST(BatchSize, RE3FastLinkIsNeverHeldBack) {
    BatchSize size(kMost);
    for (int i = 0; i < 100; ++i)
        size.passed({1, 200}, BatchSize::Span(30), false); // small ones say nothing of the rate
    EXPECT_EQ(size.next(), kMost);
}

TEST(BatchSize, RE3OneFailureIsForgotten) {
    BatchSize size(kMost);
    size.failed({20000, 4u << 20});
    EXPECT_LT(size.next().rows, 20000u);
    const World world;
    for (int i = 0; i < 200; ++i)
        size.passed(world.batch(size.next()), BatchSize::Span(100), true);
    EXPECT_EQ(size.next().rows, kMost.rows);
}

TEST(BatchSize, RE3LinkThatComesBackIsUsedAgain) {
    BatchSize size(kMost);
    World world{.bytes_per_second = 50e3, .event = 1000};
    const auto ship_some = [&](int times) {
        for (int i = 0; i < times; ++i) {
            const ReadSize batch = world.batch(size.next());
            if (world.takes(batch))
                size.passed(batch, BatchSize::Span(static_cast<long>(world.seconds(batch) * 1000)),
                            true);
            else
                size.failed(batch);
        }
    };
    ship_some(50);
    EXPECT_LT(size.next().bytes, 300'000u);
    world.bytes_per_second = 1e9;
    ship_some(300);
    EXPECT_EQ(size.next().bytes, kMost.bytes);
}

// What is read is always below a third of the bytes that are allowed: rows count as more there.
TEST(BatchSize, P9RowsThatCountAsMoreThanTheyCarryDoNotHoldItDown) {
    BatchSize size(kMost);
    size.failed({20, 2000});
    for (int i = 0; i < 200; ++i) {
        const ReadSize allowed = size.next();
        const std::size_t rows =
            std::max<std::size_t>(1, std::min(allowed.rows, allowed.bytes / 300));
        size.passed({rows, rows * 100}, BatchSize::Span(35), true);
    }
    EXPECT_EQ(size.next(), kMost);
}

// Any answers in any order: within bounds, smaller after each failure, never stuck at one size that
// fails.
TEST(BatchSize, RE3PropertyOverRandomAnswers) {
    std::mt19937_64 random(20261129);
    for (int world = 0; world < 300; ++world) {
        BatchSize size(kMost);
        for (int i = 0; i < 300; ++i) {
            const ReadSize allowed = size.next();
            ASSERT_GE(allowed.rows, 1u);
            ASSERT_LE(allowed.rows, kMost.rows);
            ASSERT_GE(allowed.bytes, 1000u);
            ASSERT_LE(allowed.bytes, kMost.bytes);
            const std::size_t rows = 1 + random() % allowed.rows;
            const ReadSize batch{rows, 1 + random() % (2 * allowed.bytes)};
            if (random() % 3 == 0) {
                size.failed(batch);
                ASSERT_TRUE(size.next().rows < allowed.rows || allowed.rows == 1);
                ASSERT_TRUE(size.next().bytes < allowed.bytes || allowed.bytes == 1000);
            } else {
                size.passed(batch, BatchSize::Span(random() % 10000), random() % 2);
            }
        }
    }
}

} // namespace
} // namespace once::outbox
