// What SQLSTATEs mean, how long an error text is, and the rules by which a refused message comes
// back.
#include "relay/config/retry_rules.hpp"
#include "relay/inbox/batch_limit.hpp"
#include "relay/inbox/database_errors.hpp"
#include "relay/inbox/retry_budget.hpp"

#include <gtest/gtest.h>

#include <random>

namespace once::inbox {
namespace {

TEST(InboxFailure, US7OnlyWhatCanMeanNothingElseIsTriedAgainForAHandler) {
    for (const char *state :
         {"08001", "08006", "53400", "53200", "58P01", "55P03", "57P01", "57P03", "25006", "42501",
          "42883", "26000", "ON012", "P0001", "XX000"})
        EXPECT_EQ(judge(state, During::handler), Failure::message) << state;
    for (const char *state : {"40001", "40P01"})
        EXPECT_EQ(judge(state, During::handler), Failure::conflict) << state;
    EXPECT_EQ(judge("53100", During::handler), Failure::again);
}

TEST(InboxFailure, RE13AStatementOfOurs) {
    for (const char *state : {"08006", "53300", "57014", "57P01", "58030", "55P03", "25006"})
        EXPECT_EQ(judge(state, During::own_statement), Failure::again) << state;
    EXPECT_EQ(judge("40001", During::own_statement), Failure::conflict);
    EXPECT_EQ(judge("26000", During::own_statement), Failure::reconnect);
    EXPECT_EQ(judge("ON012", During::own_statement), Failure::behind);
    EXPECT_EQ(judge("42883", During::own_statement), Failure::missing);
    EXPECT_EQ(judge("42P01", During::own_statement), Failure::missing);
    EXPECT_EQ(judge("42501", During::own_statement), Failure::rights);
    EXPECT_EQ(judge("ON010", During::own_statement), Failure::message);
}

TEST(InboxFailure, US13AnErrorTextIsOneBoundedLine) {
    const SqlError error("P0001", std::string(3'000'000, 'x') + "\n\x1b[31m");
    EXPECT_LE(text_of(error).size(), 1100u);
    EXPECT_EQ(text_of(error).find_first_of("\n\x1b"), std::string::npos);
    EXPECT_TRUE(text_of(error).ends_with("(SQLSTATE P0001)"));
    // It ends between two characters.
    std::string euros;
    for (int i = 0; i < 1000; ++i)
        euros += "\xe2\x82\xac";
    for (const char *before : {"", "a", "ab"}) {
        const std::string text = bounded(before + euros);
        EXPECT_LE(text.size(), 1000u);
        const std::string kept = text.substr(0, text.find(" \xe2\x80\xa6"));
        EXPECT_EQ((kept.size() - std::string(before).size()) % 3, 0u);
    }
    EXPECT_EQ(bounded("short\nline"), "short line");
    EXPECT_LE(std::string(SessionLost(std::string(5000, 'y')).what()).size(), 1000u);
}

TEST(InboxRetry, US10TheClosestRuleCounts) {
    RetryRules rules;
    EXPECT_EQ(rules.delays_s("23503"), (std::vector<int>{1, 10, 60, 600, 3600}));
    EXPECT_EQ(rules.delays_s("08001"), rules.delays_s("23503"));
    EXPECT_TRUE(rules.delays_s("57014").empty());
    EXPECT_TRUE(rules.delays_s("P0001").empty());
    rules.pauses_s["*"] = {5};
    rules.pauses_s["08001"] = {};
    EXPECT_EQ(rules.delays_s("P0001"), std::vector<int>{5});
    EXPECT_TRUE(rules.delays_s("08001").empty());
    EXPECT_FALSE(rules.delays_s("08006").empty());
}

TEST(InboxRetry, US10RulesAreRead) {
    const auto read = [](const char *text, const char *state) {
        const auto rules = config::retry_rules_of(text);
        EXPECT_TRUE(rules) << text;
        return rules ? rules->delays_s(state) : std::vector<int>{-1};
    };
    EXPECT_EQ(read("1s 10s 1m 2h", "P0001"), (std::vector<int>{1, 10, 60, 7200}));
    EXPECT_EQ(read("1s,10s", "23503"), (std::vector<int>{1, 10})) << "for every SQLSTATE";
    EXPECT_EQ(read("P0001=5 7", "P0001"), (std::vector<int>{5, 7}));
    EXPECT_EQ(read("P0001=5", "23503").size(), 5u) << "what is not named keeps its default";
    EXPECT_TRUE(read("foreign_key_violation=,08=1s", "23503").empty());
    EXPECT_EQ(read("foreign_key_violation=,08=1s", "08P01"), std::vector<int>{1});
    EXPECT_TRUE(read("", "23503").empty());
    for (const char *bad : {"x", "0s", "-1s", "1d", "23503=x", "nosuch=1s", "235=1s", "2350e=1s",
                            "1s=1s", "9999999999s", "=1s", "8d"})
        EXPECT_FALSE(config::retry_rules_of(bad)) << bad;
    for (const char *text :
         {"", "1s 2s", "P0001=3s", "*=7s", "1s,08=", "08=,23503=,40=,53=,55P03="}) {
        const auto rules = config::retry_rules_of(text);
        ASSERT_TRUE(rules) << text;
        const auto again = config::retry_rules_of(config::to_text(*rules));
        ASSERT_TRUE(again) << config::to_text(*rules);
        EXPECT_EQ(again->pauses_s, rules->pauses_s) << text << " " << config::to_text(*rules);
    }
}

TEST(InboxRetry, D2AttemptsInPlaceAreBounded) {
    RetryBudget budget(1000);
    int taken = 0;
    while (budget.take(1000))
        ASSERT_LE(++taken, RetryBudget::kMost);
    EXPECT_EQ(taken, RetryBudget::kMost);
    EXPECT_TRUE(budget.take(1000 + RetryBudget::kOneMoreMs));
    EXPECT_FALSE(budget.take(1000 + RetryBudget::kOneMoreMs));
    for (int i = 0; i < RetryBudget::kMost; ++i)
        EXPECT_TRUE(budget.take(1'000'000'000));
    EXPECT_FALSE(budget.take(1'000'000'000));
}

// Whatever a message takes, a batch does not outlive the interval once two of them were measured.
TEST(InboxBatchLimit, RE11KeepsWithinTheInterval) {
    std::mt19937 random(20260131);
    for (int round = 0; round < 2000; ++round) {
        const auto interval_ms = static_cast<std::int64_t>(1000 + random() % 300'000);
        const std::int64_t each_us = 1 << random() % 19; // up to half a second
        const std::size_t most = 1 + random() % 10'000;
        BatchLimit limit(most, interval_ms);
        for (int batch = 0; batch < 20; ++batch) {
            const std::size_t rows = limit.rows();
            ASSERT_GE(rows, 1u);
            ASSERT_LE(rows, most);
            const auto ms = static_cast<std::int64_t>(rows) * each_us / 1000;
            if (batch > 1 && rows > 1) {
                ASSERT_LE(ms, interval_ms / 2) << "message of " << each_us << " us";
            }
            limit.took(rows, ms);
        }
        if (static_cast<std::int64_t>(most) * each_us / 1000 <
            std::min<std::int64_t>(interval_ms / 4, 5000)) {
            ASSERT_EQ(limit.rows(), most) << "fast messages fill what the operator allows";
        }
    }
}

TEST(InboxBatchLimit, RE11WhatDidNotEndIsHalved) {
    BatchLimit limit(1000, 300'000);
    for (int i = 0; i < 6; ++i)
        limit.took(limit.rows(), 1);
    EXPECT_EQ(limit.rows(), 1000u);
    EXPECT_FALSE(limit.limited());
    limit.failed();
    EXPECT_EQ(limit.rows(), 500u);
    EXPECT_TRUE(limit.limited());
    for (int i = 0; i < 20; ++i)
        limit.failed();
    EXPECT_EQ(limit.rows(), 1u);
    limit.took(1, 1);
    EXPECT_EQ(limit.rows(), 2u);
    limit.took(1, 100); // few messages that cost a round trip say nothing about many
    EXPECT_EQ(limit.rows(), 2u);
}

} // namespace
} // namespace once::inbox
