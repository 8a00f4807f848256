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

TEST(Check, ExitCodeIsThatOfTheFirstError) {
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

TEST(Check, JsonCarriesTheSameAndSurvivesBrokenText) {
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

TEST(Check, SettingsOfTopics) {
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
        judge_topic({"orders", state, one.positions ? 0 : 921600, one.positions, {}}, settings,
                    findings);
        const std::size_t expected = one.code == 0 ? 0U : 1U;
        ASSERT_EQ(findings.all().size(), expected) << one.name << "\n" << findings.lines();
        EXPECT_EQ(static_cast<int>(findings.exit_code()), std::max(0, one.code)) << one.name;
    }
}

constexpr auto kRead = RD_KAFKA_ACL_OPERATION_READ;
constexpr auto kWrite = RD_KAFKA_ACL_OPERATION_WRITE;
constexpr auto kAll = RD_KAFKA_ACL_OPERATION_ALL;

struct RightCase {
    const char *name;
    Principal principal;
    std::vector<Acl> acls;
    Granted expected; // of WRITE
};

TEST(Check, ADenyWinsThenOneAllowIsEnough) {
    const Principal relay{"User:relay", true, false, false};
    const Principal anybody{"", true, false, false};
    const RightCase cases[] = {
        {"no authorizer", {"User:relay", false, false, false}, {}, Granted::yes},
        {"super user", {"User:relay", true, true, false}, {}, Granted::yes},
        {"no ACL", relay, {}, Granted::no},
        {"no ACL, and that is enough", {"User:relay", true, false, true}, {}, Granted::yes},
        {"somebody else's",
         {"User:relay", true, false, true},
         {{"User:x", kWrite, true}},
         Granted::no},
        {"ours", relay, {{"User:x", kRead, true}, {"User:relay", kWrite, true}}, Granted::yes},
        {"everybody's", relay, {{"User:*", kWrite, true}}, Granted::yes},
        {"all operations", relay, {{"User:relay", kAll, true}}, Granted::yes},
        {"another operation", relay, {{"User:relay", kRead, true}}, Granted::no},
        {"denied", relay, {{"User:*", kAll, false}, {"User:relay", kWrite, true}}, Granted::no},
        {"another one denied",
         relay,
         {{"User:x", kAll, false}, {"User:relay", kWrite, true}},
         Granted::yes},
        {"unknown principal", anybody, {{"User:x", kWrite, true}}, Granted::yes},
        {"unknown principal, nobody", anybody, {{"User:x", kRead, true}}, Granted::no},
        {"unknown principal, a deny",
         anybody,
         {{"User:x", kWrite, true}, {"User:y", kWrite, false}},
         Granted::unknown},
    };
    for (const RightCase &one : cases)
        EXPECT_EQ(granted(one.principal, {RD_KAFKA_RESP_ERR_NO_ERROR, one.acls}, kWrite),
                  one.expected)
            << one.name;
    EXPECT_EQ(granted(relay, {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, {}}, kWrite),
              Granted::unknown);
}

TEST(Check, ThePrincipalIsTheSaslUserUnlessTheBrokersMakeAnother) {
    KafkaOptions options;
    options.passthrough = {{"sasl.username", "relay"}};
    const SettingMap plain = {{"authorizer.class.name", "A"}, {"super.users", "User:a;User:relay"}};
    EXPECT_EQ(principal_of(options, plain).name, "User:relay");
    EXPECT_TRUE(principal_of(options, plain).super_user);
    EXPECT_FALSE(principal_of(options, {{"super.users", "User:relay2"}}).super_user);
    EXPECT_FALSE(principal_of(options, {{"super.users", ""}}).authorizer);
    EXPECT_TRUE(principal_of(options, {}).authorizer); // not told
    EXPECT_EQ(principal_of(options, {{"principal.builder.class", "com.example.Other"}}).name, "");
    EXPECT_EQ(principal_of({}, plain).name, "");
}

} // namespace
} // namespace once::checks
