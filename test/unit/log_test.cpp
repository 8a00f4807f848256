// Log lines: one line whatever the value holds; repeats are counted.
#include "relay/process/log.hpp"

#include "relay/options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstring>
#include <limits>
#include <sstream>

namespace once::log {
namespace {

TEST(Log, ValuesAreQuotedWhenTheyNeedIt) {
    EXPECT_EQ(format_line("lane_acquired", {{"lane", 0}, {"waited_ms", 12}}),
              "lane_acquired lane=0 waited_ms=12");
    EXPECT_EQ(format_line("failed", {{"error", "no \"such\" topic"}}),
              "failed error=\"no \\\"such\\\" topic\"");
    EXPECT_EQ(format_line("failed", {{"error", ""}}), "failed error=\"\"");
}

TEST(Log, AValueCannotForgeASecondLine) {
    const std::string line = format_line("failed", {{"error", "a\nb\r\x01=c"}});
    EXPECT_EQ(line.find_first_of("\n\r"), std::string::npos);
    EXPECT_EQ(line, "failed error=\"a\\nb\\x0d\\x01=c\"");
}

TEST(Log, JsonHasTheSameMembersAndIsOneObjectALine) {
    LogOptions options;
    options.format = LogFormat::json;
    start(options);
    ::testing::internal::CaptureStderr();
    warning("went_wrong", {{"lane", 3},
                           {"clean", false},
                           {"share", 0.5},
                           {"none", std::numeric_limits<double>::quiet_NaN()},
                           {"number", "7"},
                           {"error", "a \"b\"\nc\x01\xff"}});
    write_last("refused", {{"message", "no"}, {"exit_code", 6}});
    start({});
    warning("plain", {{"lane", 3}});
    std::istringstream text(::testing::internal::GetCapturedStderr());
    std::string first, last, plain;
    std::getline(text, first);
    std::getline(text, last);
    std::getline(text, plain);
    auto line = nlohmann::ordered_json::parse(first);
    EXPECT_EQ(line["time"].get<std::string>().size(), std::strlen("2026-01-31T12:00:00.123Z"));
    line.erase("time");
    EXPECT_EQ(line.dump(),
              "{\"level\":\"warning\",\"event\":\"went_wrong\",\"lane\":3,\"clean\":false,"
              "\"share\":0.5,\"none\":\"nan\",\"number\":\"7\","
              "\"error\":\"a \\\"b\\\"\\nc\\u0001\xef\xbf\xbd\"}");
    const auto refused = nlohmann::json::parse(last);
    EXPECT_EQ(refused["level"], "error");
    EXPECT_EQ(refused["exit_code"], 6);
    EXPECT_THAT(plain, ::testing::EndsWith(" warning plain lane=3"));
}

TEST(Log, RepeatsAreHeldBackAndCounted) {
    LogOptions options;
    options.repeat_s = 1;
    start(options);
    ::testing::internal::CaptureStderr();
    for (int i = 0; i < 100; ++i)
        warning("broker_away", {{"broker", "a:1"}, {"attempt", i}});
    warning("broker_away", {{"broker", "b:1"}});
    timespec pause{1, 100'000'000};
    nanosleep(&pause, nullptr);
    warning("broker_away", {{"broker", "a:1"}, {"attempt", 100}});
    const std::string text = ::testing::internal::GetCapturedStderr();
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 5) << text;
    EXPECT_THAT(text, ::testing::HasSubstr("attempt=100 repeated=97"));
    EXPECT_THAT(text, ::testing::HasSubstr(" warning broker_away broker=b:1"));
}

TEST(Log, LevelHoldsBackWhatIsBelow) {
    LogOptions options;
    options.level = "warning";
    start(options);
    EXPECT_FALSE(enabled(Level::info));
    EXPECT_TRUE(enabled(Level::warning));
    options.level = "info";
    start(options);
    EXPECT_TRUE(enabled(Level::info));
}

} // namespace
} // namespace once::log
