// The table of a lane's states: what README.md prints is what runs, and no state is a dead end.
#include "relay/outbox/lane_state.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

namespace once::outbox {
namespace {

TEST(LaneState, TableInReadmeIsTheTableThatRuns) {
    std::ifstream file("relay/outbox/README.md");
    ASSERT_TRUE(file) << "run from the top of the tree";
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_NE(text.str().find(lane_transitions_as_markdown()), std::string::npos)
        << lane_transitions_as_markdown();
}

TEST(LaneState, NoRowIsThereTwice) {
    std::set<std::pair<LaneState, LaneCause>> seen;
    for (const LaneTransition &row : lane_transitions())
        EXPECT_TRUE(seen.emplace(row.from, row.cause).second)
            << to_string(row.from) << " " << to_string(row.cause);
}

TEST(LaneState, EveryStateIsReachedAndLeft) {
    std::set<LaneState> reached = {LaneState::connecting}, left;
    for (const LaneTransition &row : lane_transitions()) {
        reached.insert(row.to);
        if (row.from != row.to)
            left.insert(row.from);
    }
    for (int i = 0; i < static_cast<int>(LaneState::stopping); ++i) {
        const auto state = static_cast<LaneState>(i);
        EXPECT_TRUE(reached.count(state)) << to_string(state);
        EXPECT_TRUE(left.count(state)) << to_string(state);
        EXPECT_EQ(next_state(state, LaneCause::asked_to_stop), LaneState::stopping);
        EXPECT_EQ(next_state(state, LaneCause::session_lost), LaneState::retrying);
    }
}

TEST(LaneState, BlockedWhileShippingEndsWithACommitAlone) {
    for (const LaneTransition &row : lane_transitions())
        if (row.from == LaneState::refused) {
            EXPECT_EQ(row.to == LaneState::running, row.cause == LaneCause::committed)
                << to_string(row.cause);
        }
}

TEST(LaneState, WhatStillEndsWhileStoppingChangesNothing) {
    EXPECT_EQ(next_state(LaneState::stopping, LaneCause::committed), LaneState::stopping);
    EXPECT_EQ(next_state(LaneState::stopping, LaneCause::ended), LaneState::stopped);
    EXPECT_EQ(next_state(LaneState::standby, LaneCause::committed), std::nullopt);
}

} // namespace
} // namespace once::outbox
