// once::Window against a set that remembers everything.
#include "extension/inbox/window.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <unordered_set>

using once::Window;
using Verdict = once::Window::Verdict;

namespace {

// What the window promises, said with a set.
struct Reference {
    std::unordered_set<int64_t> seen;
    int64_t highest = -1;

    Verdict accept(int64_t position) {
        if (highest >= 0 && position <= highest - Window::kSize)
            return Verdict::too_old;
        if (!seen.insert(position).second)
            return Verdict::duplicate;
        highest = std::max(highest, position);
        return Verdict::fresh;
    }
};

int64_t next_position(std::mt19937_64 &random, int64_t highest) {
    auto up_to = [&](int64_t n) {
        return static_cast<int64_t>(random() % static_cast<uint64_t>(n));
    };
    switch (random() % 16) {
    case 0:
        return std::max<int64_t>(0, highest - up_to(3 * Window::kSize)); // also below the window
    case 1:
        return highest + up_to(3 * Window::kSize); // also a whole window ahead
    case 2:
        return std::max<int64_t>(0, highest - Window::kSize + up_to(3)); // its edge
    case 3:
        return highest + 1'000'000'000;
    case 4:
    case 5:
    case 6:
        return std::max<int64_t>(0, highest - up_to(Window::kSize));
    default:
        return std::max<int64_t>(0, highest - 32 + up_to(64));
    }
}

} // namespace

TEST(Window, G1AMillionOperationsAgainstASet) {
    std::mt19937_64 random(4711);
    Window window;
    Reference reference;
    int counts[4] = {};
    for (int i = 0; i < 1'000'000; i++) {
        const int64_t position = next_position(random, std::max<int64_t>(0, reference.highest));
        if (i % 1000 == 0) // as it comes back from its row
            window =
                reference.highest < 0 ? Window() : Window(window.highest(), window.bits().data());
        const Verdict expected = reference.accept(position);
        ASSERT_EQ(window.check(position), expected)
            << "operation " << i << ", position " << position;
        ASSERT_EQ(window.accept(position), expected)
            << "operation " << i << ", position " << position;
        counts[static_cast<int>(expected)]++;
    }
    for (Verdict verdict : {Verdict::fresh, Verdict::duplicate, Verdict::too_old})
        EXPECT_GT(counts[static_cast<int>(verdict)], 10'000) << static_cast<int>(verdict);
}

TEST(Window, G3AnImplausibleJumpChangesNothing) {
    Window window;
    window.accept(7);
    EXPECT_EQ(window.accept(7 + Window::kFarthestJump + 1), Verdict::implausible);
    EXPECT_EQ(window.accept(-1), Verdict::implausible);
    EXPECT_EQ(window.accept(7), Verdict::duplicate);
    EXPECT_EQ(window.accept(7 + Window::kFarthestJump), Verdict::fresh);
}

TEST(Window, G4TheEndsOfInt64) {
    constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
    Window window;
    EXPECT_EQ(window.accept(kMost), Verdict::fresh);
    EXPECT_EQ(window.accept(kMost - Window::kSize + 1), Verdict::fresh);
    EXPECT_EQ(window.accept(kMost - Window::kSize), Verdict::too_old);
    EXPECT_EQ(window.accept(0), Verdict::too_old);
    EXPECT_EQ(window.accept(kMost), Verdict::duplicate);
    Window near;
    EXPECT_EQ(near.accept(kMost - 9), Verdict::fresh);
    EXPECT_EQ(near.accept(kMost), Verdict::fresh);
    for (int64_t below = 1; below < 9; below++)
        EXPECT_EQ(near.accept(kMost - below), Verdict::fresh) << below;
    EXPECT_EQ(near.accept(kMost - 9), Verdict::duplicate);
    Window low;
    EXPECT_EQ(low.accept(0), Verdict::fresh);
    EXPECT_EQ(low.accept(kMost), Verdict::implausible);
}
