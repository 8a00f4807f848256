// check: findings are lines with their fix; topic settings that lose what was acknowledged are
// errors.
#include "relay/check/finding.hpp"
#include "relay/check/topic.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace once::checks {
namespace {

using ::testing::HasSubstr;

TEST(check, exit_code_is_that_of_the_first_error) {
    Findings findings;
    findings.ok("database", "fine");
    findings.warning("kafka", "hm", "repair");
    EXPECT_EQ(findings.exit_code(), ExitCode::stopped);
    findings.error(ExitCode::kafka, "kafka", "bad\nnews", "repair");
    findings.error(ExitCode::database, "database", "worse", "repair");
    EXPECT_EQ(findings.exit_code(), ExitCode::kafka);
    EXPECT_THAT(findings.lines(), HasSubstr("error    kafka     bad news  fix: repair\n"));
    EXPECT_THAT(findings.lines(), HasSubstr("1 ok, 1 warnings, 2 errors\n"));
}

TEST(check, json_carries_the_same_and_survives_broken_text) {
    Findings findings;
    findings.error(ExitCode::refused, "kafka", "not \xff utf-8", "fix it");
    const auto parsed = nlohmann::json::parse(findings.json());
    EXPECT_EQ(parsed["exit_code"], 6);
    EXPECT_EQ(parsed["findings"][0]["severity"], "error");
    EXPECT_EQ(parsed["findings"][0]["fix"], "fix it");
}

struct TopicCase {
    const char *name, *setting, *value;
    bool positions;
    int replicas, partitions;
    int code; // -1: warning, 0: nothing
};

TEST(check, settings_of_topics) {
    const TopicCase cases[] = {
        {"sound", "cleanup.policy", "delete", false, 3, 4, 0},
        {"sound positions", "cleanup.policy", "compact", true, 3, 1, 0},
        {"positions that are deleted", "cleanup.policy", "delete", true, 3, 1, 6},
        {"positions that are also deleted", "cleanup.policy", "compact,delete", true, 3, 1, 6},
        {"positions in two partitions", "cleanup.policy", "compact", true, 3, 2, 6},
        {"null keys refused", "cleanup.policy", "compact", false, 3, 4, -1},
        {"unclean", "unclean.leader.election.enable", "true", false, 3, 4, 5},
        {"one copy", "min.insync.replicas", "1", false, 1, 4, -1},
        {"stops with one broker", "min.insync.replicas", "3", false, 3, 4, -1},
        {"never writable", "min.insync.replicas", "4", false, 3, 4, 5},
        {"one copy is enough", "min.insync.replicas", "1", false, 3, 4, -1},
        {"too small", "max.message.bytes", "921600", false, 3, 4, -1},
        {"large enough", "max.message.bytes", "922112", false, 3, 4, 0},
    };
    for (const TopicCase &one : cases) {
        SettingMap settings = {{"cleanup.policy", one.positions ? "compact" : "delete"},
                               {"unclean.leader.election.enable", "false"},
                               {"min.insync.replicas", "2"},
                               {"max.message.bytes", "1048588"}};
        settings[one.setting] = one.value;
        TopicState state;
        state.partitions = one.partitions;
        state.replicas = one.replicas;
        Findings findings;
        judge_topic({"orders", state, one.positions ? 0 : 921600, one.positions, false}, settings,
                    findings);
        const std::size_t expected = one.code == 0 ? 0U : 1U;
        ASSERT_EQ(findings.all().size(), expected) << one.name << "\n" << findings.lines();
        EXPECT_EQ(static_cast<int>(findings.exit_code()), std::max(0, one.code)) << one.name;
    }
}

} // namespace
} // namespace once::checks
