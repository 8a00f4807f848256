// Options: the table is the same in file, environment, flags and print-config; every mistake is one
// clear refusal.
#include "relay/config/command_line.hpp"
#include "relay/config/init.hpp"
#include "relay/config/commands.hpp"
#include "relay/config/documents.hpp"
#include "relay/config/kafka_settings.hpp"
#include "relay/config/nearest.hpp"
#include "relay/config/settings.hpp"
#include "relay/config/table.hpp"
#include "relay/process/exit_code.hpp"

#include <fstream>
#include <initializer_list>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace once::config {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What was refused: code and all texts in one.
struct Refused {
    int code = 0;
    std::string text;
};

template <typename Run> Refused refusal_of(Run run) {
    try {
        run();
    } catch (const Refusal &refusal) {
        return {static_cast<int>(refusal.code),
                std::string(refusal.what()) + "|" + refusal.detail + "|" + refusal.hint};
    }
    return {};
}

class File {
  public:
    explicit File(const std::string &text) {
        char name[] = "/tmp/once_options_XXXXXX";
        const int fd = mkstemp(name);
        path = name;
        std::ofstream(path) << text;
        close(fd);
    }
    ~File() { unlink(path.c_str()); }
    std::string path;
};

CommandLine parse(std::initializer_list<const char *> words) {
    std::vector<const char *> argv{"once-relay"};
    argv.insert(argv.end(), words);
    return parse_command_line(static_cast<int>(argv.size()), argv.data());
}

Settings load_file(const std::string &text, const std::vector<std::string> &environment = {}) {
    const File file(text);
    return load(parse({"print-config", "--config", file.path.c_str()}), environment);
}

Refused file_refusal(const std::string &text) {
    return refusal_of([&] { load_file(text); });
}

TEST(Options, MoreThanNineInboxesByEnvironment) {
    std::vector<std::string> environment;
    for (int i = 1; i <= 12; ++i)
        environment.push_back("ONCE_INBOX_" + std::to_string(i) + "_TOPIC=t" + std::to_string(i));
    Settings settings;
    read_environment(settings, environment);
    ASSERT_EQ(settings.options.inbox.size(), 12u);
    EXPECT_EQ(settings.options.inbox[9].topic, "t10");
}

TEST(Options, ARefusedValueLeavesNoInboxBehind) {
    Settings settings;
    EXPECT_EQ(refusal_of([&] { assign(settings, {"inbox.1.max_rows", "x", "test"}); }).code, 2);
    EXPECT_EQ(print(settings), print(Settings()));
}

TEST(Options, ANameOrValueWithANulPassesNoGuard) {
    for (const auto &[name, value] : {std::pair{std::string("acks\0", 5), std::string("1")},
                                      std::pair{std::string("acks\0x", 6), std::string("1")},
                                      std::pair{std::string("client.id"), std::string("a\0b", 3)}})
        EXPECT_EQ(refusal_of([&] { check_kafka_setting(name, value, "test"); }).code, 2) << name;
    EXPECT_EQ(file_refusal("[kafka]\n\"acks\\u0000\" = \"1\"\n").code, 2);
}

TEST(Options, LaterWinsDefaultFileEnvironmentFlag) {
    const File file("brokers = 'file:1'\n[outbox]\nmax_rows = 1\nstop_ms = 200\nreport_ms = 333\n");
    const Settings settings =
        load(parse({"print-config", "--config", file.path.c_str(), "--set", "outbox.max_rows=3"}),
             {"ONCE_OUTBOX_MAX_ROWS=2", "ONCE_OUTBOX_STOP_MS=400"});
    EXPECT_EQ(settings.options.kafka.brokers, "file:1");
    EXPECT_EQ(settings.options.outbox.report_ms, 333);
    EXPECT_EQ(settings.options.outbox.stop_ms, 400);
    EXPECT_EQ(settings.options.outbox.max_rows, 3);
    EXPECT_EQ(settings.origin_of("outbox.max_rows"), "flag --set");
    EXPECT_EQ(settings.origin_of("outbox.stop_ms"), "environment ONCE_OUTBOX_STOP_MS");
    EXPECT_EQ(settings.origin_of("outbox.report_ms"), "file " + file.path + ":5");
    EXPECT_EQ(settings.origin_of("outbox.slice_rows"), "default");
}

TEST(Options, EnvironmentNamesAreUniqueAndReachEachOption) {
    std::vector<std::string> names;
    for (const std::string &key : known_keys())
        names.push_back(environment_name(key));
    EXPECT_THAT(names, ::testing::Contains("ONCE_DATABASE"));
    EXPECT_THAT(names, ::testing::Contains("ONCE_OUTBOX_ON_POISON"));
    std::vector<std::string> sorted = names;
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(std::unique(sorted.begin(), sorted.end()), sorted.end());
    // The default written back through the environment is taken by every option.
    for (const auto &entry : option_table()) {
        const Options defaults;
        std::string value = toml_value(entry, defaults);
        std::erase_if(value, [](char c) { return c == '"' || c == '[' || c == ']'; });
        Settings settings;
        read_environment(settings, {environment_name(entry.key) + "=" + value});
        EXPECT_EQ(settings.origin.count(std::string(entry.key)), 1U) << entry.key;
    }
}

TEST(Options, InboxTablesByFileAndEnvironment) {
    const Settings settings = load_file(
        "[[inbox]]\ntopic='orders'\ngroup='billing'\nhandler='app.apply'\n"
        "[[inbox]]\ntopic='^pay.*'\ngroup='ledger'\nconsumer='books'\nstore=true\nmax_rows=7\n",
        {"ONCE_INBOX_1_ID_HEADER=x-id", "ONCE_INBOX_2_START=latest"});
    ASSERT_EQ(settings.options.inbox.size(), 2U);
    EXPECT_EQ(settings.options.inbox[0].consumer, "billing");
    EXPECT_EQ(settings.options.inbox[0].id_header, std::vector<std::string>{"x-id"});
    EXPECT_EQ(settings.options.inbox[1].consumer, "books");
    EXPECT_EQ(settings.options.inbox[1].max_rows, 7);
    EXPECT_EQ(settings.options.inbox[1].start, InboxStart::latest);
    EXPECT_TRUE(settings.options.inbox[1].store);
}

TEST(Options, EnumerationsStandInTheOrderOfTheirNames) {
    Settings settings;
    for (const PoisonPolicy policy :
         {PoisonPolicy::hold_key, PoisonPolicy::skip, PoisonPolicy::stop}) {
        assign(settings, {"outbox.on_poison", std::string(to_string(policy)), "test"});
        EXPECT_EQ(settings.options.outbox.on_poison, policy);
    }
    assign(settings, {"inbox.1.topic", "t", "test"});
    for (const InboxStart start : {InboxStart::earliest, InboxStart::latest, InboxStart::refuse}) {
        assign(settings, {"inbox.1.start", std::string(to_string(start)), "test"});
        EXPECT_EQ(settings.options.inbox[0].start, start);
    }
    for (const RangePolicy policy : {RangePolicy::stop, RangePolicy::skip}) {
        assign(settings, {"inbox.1.on_out_of_range", std::string(to_string(policy)), "test"});
        EXPECT_EQ(settings.options.inbox[0].on_out_of_range, policy);
    }
}

struct BadFile {
    const char *text, *expected;
};

TEST(Options, EachMistakeInAFileNamesLineAndRemedy) {
    const BadFile cases[] = {
        {"databse = ''", "unknown option \"databse\" (file "},
        {"databse = ''", "Did you mean \"database\"?"},
        {"\n[outbox]\nmax_row = 1", ":3)"},
        {"\n[outbox]\nmax_row = 1", "Did you mean \"outbox.max_rows\"?"},
        {"[outbx]\n", "unknown section \"outbx\""},
        {"[outbx]\n", "Did you mean \"outbox\"?"},
        {"[outbox]\nmax_rows = '5'", "cannot use a string for option \"outbox.max_rows\""},
        {"[outbox]\nmax_rows = 1.5", "cannot use a floating point number"},
        {"[outbox]\nmax_rows = 0", "It takes an integer from 1 to 100000."},
        {"[outbox]\nmax_rows = 9223372036854775807", "from 1 to 100000"},
        {"[outbox]\nlanes = [1, 'a']", "It takes a list of integers from 0 to 63."},
        {"[outbox]\non_poison = 'ignore'", "one of \"hold_key\", \"skip\", \"stop\""},
        {"[log]\nlevel = 'loud'", "one of \"trace\""},
        {"[http]\nallow_remote = 1", "It takes true or false."},
        {"outbox = 3", "Begin the section with [outbox]."},
        {"inbox = 3", "Begin it with [[inbox]]."},
        {"[inbox]\ntopic='x'", "Begin it with [[inbox]]."},
        {"[[inbox]]\ntopics='x'", "Did you mean \"inbox.1.topic\"?"},
        {"[[inbox]]\ntopic='x'\nstore=true", "\"inbox.1.group\" is not set"},
        {"[[inbox]]\ntopic='x'\ngroup='g'\nstore=true\nconsumer=\"a\\tb\"", "1 to 255 bytes"},
        {"[[inbox]]\ntopic='x'\ngroup='g'\nstore=true\nid_path='/a~2'", "JSON pointer"},
        {"[[inbox]]\ntopic='x'\ngroup='g'\nstore=true\nid_path='/a~'", "JSON pointer"},
        {"[[inbox]]\ntopic='x'\ngroup='g'\nstore=true\nid_path='a'", "JSON pointer"},
        {"[[inbox]]\ntopic='x'\ngroup='g'", "neither \"inbox.1.handler\" nor"},
        {"[[inbox]]\ntopic='x'\ngroup='g'\nhandler='a.b'\nstore=true", "cannot use both"},
        {"[[inbox]]\ntopic='x'\ngroup='g'\nhandler='a.b'\n"
         "[[inbox]]\ntopic='y'\ngroup='g'\nhandler='a.c'",
         "consumer \"g\" has two handlers"},
        {"[[inbox]]\ntopic='x'\ngroup='g'\nhandler='a.b'\n"
         "[[inbox]]\ntopic='y'\ngroup='g'\nstore=true",
         "consumer \"g\" has two handlers"},
        {"[kafka]\nacks = 1", "An event acknowledged by fewer replicas can be lost."},
        {"[kafka]\nenable.idempotence = false", "Without it a retry doubles"},
        {"[kafka]\nsecurty.protocol = 'ssl'", "Did you mean \"security.protocol\"?"},
        {"brokers = 'a'", "A broker is host:port"},
        {"brokers = 'a:1,'", "A broker is host:port"},
        {"brokers = 'a:0'", "A broker is host:port"},
        {"database = \n", "cannot read configuration (file "},
        {"database = 'hots=x'", "invalid connection option \"hots\""},
        {"[http]\nlisten = '0.0.0.0:1'", "is not loopback"},
        {"[http]\nlisten = '127.0.0.1'", "It takes ADDR:PORT"},
        {"[http]\nlisten = '127.0.0.1:70000'", "It takes ADDR:PORT"},
        {"[outbox]\nbackoff_min_ms = 5000\nbackoff_max_ms = 10", "is above"},
    };
    for (const BadFile &bad : cases) {
        const Refused refused = file_refusal(bad.text);
        EXPECT_EQ(refused.code, 2) << bad.text;
        EXPECT_THAT(refused.text, HasSubstr(bad.expected)) << bad.text;
    }
}

TEST(Options, UnreadableFileIsRefusedWithTheReason) {
    const auto load_path = [](const char *path) {
        return refusal_of([&] { load(parse({"print-config", "--config", path}), {}); });
    };
    EXPECT_EQ(load_path("/nonexistent/once.toml").code, 2);
    EXPECT_THAT(load_path("/nonexistent/once.toml").text, HasSubstr("No such file"));
    EXPECT_THAT(load_path("/tmp").text, HasSubstr("Is a directory"));
}

struct BadLine {
    std::vector<const char *> words;
    const char *expected;
    int code = 1;
};

// What init writes can be read and means what was given; and each line in it is one when its # is
// taken away.
TEST(Options, TheFirstFileHasEveryOptionAndCanBeRead) {
    Settings given;
    assign(given, {"database", "host=db1 user='o\"p'", "flag --database"});
    assign(given, {"outbox.max_rows", "77", "flag --set"});
    assign(given, {"kafka.security.protocol", "ssl", "flag --set"});
    const std::string text = first_file(given);
    Settings read;
    read_toml(read, text, "once.toml");
    EXPECT_EQ(read.options.database.conninfo, given.options.database.conninfo);
    EXPECT_EQ(read.options.outbox.max_rows, 77);
    EXPECT_EQ(read.options.kafka.passthrough, given.options.kafka.passthrough);
    EXPECT_TRUE(read.options.inbox.empty());
    std::istringstream lines(text);
    std::string whole;
    for (std::string line; std::getline(lines, line);) {
        EXPECT_TRUE(!line.starts_with("# ") || line.size() <= 100) << line;
        whole += (line.starts_with("#") && !line.starts_with("# ") ? line.substr(1) : line) + "\n";
    }
    Settings all;
    read_toml(all, whole, "once.toml");
    ASSERT_EQ(all.options.inbox.size(), 1);
    for (const std::string &key : known_keys())
        EXPECT_TRUE(all.origin.contains(key)) << key;
}

TEST(Options, TheFirstStatementsQuoteTheRole) {
    Settings given;
    assign(given, {"database", "user='a\"b'", "flag --database"});
    EXPECT_THAT(first_statements(given), ::testing::HasSubstr("CREATE ROLE \"a\"\"b\" LOGIN;"));
    EXPECT_THAT(first_statements(given),
                ::testing::Not(::testing::HasSubstr("\nSELECT once.grant_consumer")));
}

TEST(Options, EachMistakeOnTheCommandLineIsUsage) {
    const BadLine cases[] = {
        {{}, "no command given"},
        {{"outbx"}, "Did you mean \"outbox\"?"},
        {{"outbox", "--brokrs", "x"}, "Did you mean \"--brokers\"?"},
        {{"outbox", "--brokrs=secret"}, "unknown option \"--brokrs\""},
        {{"outbox", "--brokers"}, "option \"--brokers\" needs a value"},
        {{"outbox", "more"}, "unexpected argument \"more\""},
        {{"outbox", "inbox"}, ""},
        {{"outbox", "--set", "nonsense"}, "without KEY=VALUE"},
        {{"status", "--until-empty"}, "belongs to commands outbox and inbox"},
        {{"outbox", "--json"}, "belongs to commands status, check, dead, lag, peek and tail"},
        {{"outbox", "--topic", "t"}, "option \"--topic\" belongs to commands dead, peek and tail"},
        {{"dead"}, "no word given after dead"},
        {{"dead", "list", "--limit", "none"}, "cannot use \"none\" for --limit"},
        {{"dead", "list", "--key", "k", "--no-key"}, "both --key and --no-key"},
        {{"check", "everything"}, "cannot check \"everything\""},
        {{"check", "password=p"}, "cannot check \"password\""},
        {{"outbox", "postgres://u:p@h"}, "unexpected argument \"postgres\""},
        {{"postgres://u:p@h"}, "unknown command \"postgres\""},
    };
    for (const BadLine &bad : cases) {
        std::vector<const char *> argv{"once-relay"};
        argv.insert(argv.end(), bad.words.begin(), bad.words.end());
        const Refused refused =
            refusal_of([&] { parse_command_line(static_cast<int>(argv.size()), argv.data()); });
        EXPECT_EQ(refused.code, bad.code) << bad.expected;
        EXPECT_THAT(refused.text, HasSubstr(bad.expected));
    }
}

TEST(Options, TheWordBehindAValueIsNoSecondValue) {
    const CommandLine line = parse({"check", "--brokers", "a:1", "outbox"});
    EXPECT_TRUE(line.check_outbox);
    EXPECT_FALSE(line.check_inbox);
    ASSERT_EQ(line.assignments.size(), 1U);
    EXPECT_EQ(line.assignments.front().value, "a:1");
}

TEST(Options, RequiredOnesAreNamed) {
    const auto load_words = [](std::initializer_list<const char *> words) {
        return refusal_of([&] { load(parse(words), {}); });
    };
    EXPECT_THAT(load_words({"outbox"}).text, HasSubstr("option \"database\" is not set"));
    EXPECT_THAT(load_words({"outbox", "--database", ""}).text, HasSubstr("option \"brokers\""));
    EXPECT_EQ(load_words({"status", "--database", ""}).code, 0);
    EXPECT_THAT(load_words({"inbox", "--database", "", "--brokers", "a:1"}).text,
                HasSubstr("no [[inbox]] is configured"));
    EXPECT_EQ(load_words({"print-config"}).code, 0);
}

TEST(Options, MisspeltEnvironmentIsRefusedAndOthersAreIgnored) {
    Settings settings;
    read_environment(settings, {"ONCE_CRASH_AT=x", "ONCE_CONFIG=y", "PATH=/bin", "nonsense"});
    EXPECT_TRUE(settings.origin.empty());
    for (const char *variable : {"ONCE_OUTBOX_ONPOISON=skip", "ONCE_KAFKA_SASL_PASWORD=x",
                                 "ONCE_INBOX_TOPIC=x", "ONCE_DATABASES=x"}) {
        const Refused refused = refusal_of([&] { read_environment(settings, {variable}); });
        EXPECT_EQ(refused.code, 2) << variable;
        EXPECT_THAT(refused.text, HasSubstr("Did you mean")) << variable;
    }
    read_environment(settings, {"ONCE_KAFKA_SASL_PASSWORD=a b=c"});
    EXPECT_EQ(settings.options.kafka.passthrough.at("sasl.password"), "a b=c");
}

TEST(Options, SettingsThatBreakExactnessAreRefused) {
    const std::pair<const char *, const char *> refused[] = {
        {"enable.idempotence", "false"},
        {"acks", "1"},
        {"request.required.acks", "0"},
        {"transactional.id", "mine"},
        {"transaction.timeout.ms", "1"},
        {"isolation.level", "read_uncommitted"},
        {"enable.auto.commit", "true"},
        {"enable.auto.offset.store", "true"},
        {"group.id", "g"},
        {"bootstrap.servers", "a:1"},
        {"queuing.strategy", "lifo"},
        {"max.in.flight", "6"},
        {"partitioner", "random"},
        {"delivery.report.only.error", "true"},
        {"test.mock.num.brokers", "3"},
        {"retries", "0"},
        {"message.timeout.ms", "1"},
        {"enable.partition.eof", "false"},
    };
    for (const auto &[name, value] : refused)
        EXPECT_EQ(refusal_of([&] { check_kafka_setting(name, value, "test"); }).code, 2) << name;
    const std::pair<const char *, const char *> taken[] = {
        {"acks", "all"},
        {"acks", "-1"},
        {"enable.idempotence", "TRUE"},
        {"compression.type", "lz4"},
        {"linger.ms", "5"},
        {"isolation.level", "read_committed"},
        {"debug", "eos"},
        {"client.id", "relay"},
        {"partitioner", "murmur2_random"},
    };
    for (const auto &[name, value] : taken)
        EXPECT_EQ(refusal_of([&] { check_kafka_setting(name, value, "test"); }).text, "") << name;
}

TEST(Options, PasswordsAreNeverPrinted) {
    const Settings settings = load_file(
        "database = 'postgresql://relay:hunter2@db1/shop?sslpassword=hunter3'\nbrokers='a:1'\n"
        "[kafka]\nsasl.username='relay'\nsasl.password='hunter4'\nssl.key.password='hunter5'\n"
        "sasl.oauthbearer.config='hunter6'\n");
    const std::string text = print(settings);
    EXPECT_THAT(text, Not(HasSubstr("hunter")));
    EXPECT_THAT(text, HasSubstr("user=relay password=*** dbname=shop host=db1 sslpassword=***"));
    EXPECT_THAT(text, HasSubstr("\"sasl.password\" = \"***\""));
    EXPECT_THAT(text, HasSubstr("\"sasl.username\" = \"relay\""));
}

TEST(Options, PasswordsAreNotInRefusalsEither) {
    const char *bad[] = {
        "database = 'host=a password=x hunter2'", "database = 'host=a password=\"hunter2'",
        "database = 'postgresql://relay:hunter2@[::1/shop'", "database = \"host='hunter2\"",
        // A password as it is: what stands behind @ or / becomes host or port.
        "database = 'postgresql://relay:pass@hunter2@db1/shop'",
        "database = 'postgresql://relay:hunter2/pass@db1/shop'",
        "[kafka]\nssl.key.pem = 'hunter2'"};
    for (const char *text : bad)
        EXPECT_THAT(file_refusal(text).text, Not(HasSubstr("hunter2"))) << text;
    for (const std::size_t i : {0, 4, 5})
        EXPECT_EQ(file_refusal(bad[i]).code, 2) << bad[i];
    for (const char *good : {"host=@socket,/run/a@b,db1 port=5432,5433,5434", "host=db1 port=''",
                             "postgresql://relay:hun%40ter%2F@db1,db2:5433/shop"})
        EXPECT_THAT(masked_conninfo(good), Not(HasSubstr("hun"))) << good;
}

TEST(Options, WhatNewerLibrariesHaveForSecretsIsSecretToo) {
    for (const char *keyword : {"scram_client_key", "scram_server_key", "oauth_client_secret"})
        EXPECT_TRUE(is_secret_keyword(keyword, "")) << keyword;
    EXPECT_TRUE(is_secret_keyword("sslpassword", "*"));
    for (const char *keyword : {"host", "passfile", "user", "sslkey", "require_auth"})
        EXPECT_FALSE(is_secret_keyword(keyword, "")) << keyword;
    for (const char *name : {"sasl.oauthbearer.assertion.private.key.passphrase",
                             "sasl.oauthbearer.assertion.private.key.pem",
                             "sasl.oauthbearer.client.credentials.client.secret"})
        EXPECT_TRUE(is_secret_kafka_setting(name)) << name;
    EXPECT_FALSE(is_secret_kafka_setting("ssl.key.location"));
}

TEST(Options, WhatIsPrintedCanBeReadAgain) {
    const Settings settings = load_file(
        "database='host=a'\nbrokers=['a:1','b:2']\n[outbox]\nlanes=[0,2]\non_poison='stop'\n"
        "[kafka]\ncompression.type='lz4'\n[[inbox]]\ntopic='a\"b'\ngroup='g'\nstore=true\n");
    EXPECT_EQ(settings.options.kafka.brokers, "a:1,b:2");
    const Settings again = load_file(print(settings));
    EXPECT_EQ(again.options.outbox.lanes, (std::vector<int>{0, 2}));
    EXPECT_EQ(again.options.outbox.on_poison, PoisonPolicy::stop);
    EXPECT_EQ(again.options.inbox.at(0).topic, "a\"b");
    EXPECT_EQ(again.options.kafka.passthrough, settings.options.kafka.passthrough);
}

TEST(Options, LanesMayBeSaidSeveralTimes) {
    const Settings settings = load(parse({"print-config", "--lane", "1", "--lane", "4"}), {});
    EXPECT_EQ(settings.options.outbox.lanes, (std::vector<int>{1, 4}));
    EXPECT_EQ(refusal_of([] { load(parse({"print-config", "--lane", "x"}), {}); }).code, 2);
}

TEST(Options, HelpNamesEveryOptionItsVariableAndEveryExitCode) {
    const std::string text = help_text();
    for (const std::string &key : known_keys()) {
        EXPECT_THAT(text, HasSubstr(key));
        EXPECT_THAT(text, HasSubstr(environment_name(key)));
    }
    for (const ExitCodeEntry &entry : kExitCodes)
        EXPECT_THAT(text, HasSubstr(entry.meaning));
}

TEST(Options, ManPageAndMarkdownNameEveryOptionToo) {
    for (const std::string &key : known_keys()) {
        const std::string last = key.substr(key.rfind('.') + 1);
        EXPECT_THAT(man_page(), HasSubstr(last)) << key;
        EXPECT_THAT(options_markdown(), HasSubstr(last + "`")) << key;
    }
    EXPECT_THAT(man_page(), Not(HasSubstr("\n'"))); // a request that groff would swallow
}

TEST(Options, CompletionKnowsCommandsFlagsAndKeys) {
    for (const char *shell : {"bash", "zsh", "fish"}) {
        const std::string script = completion(shell);
        for (const char *word : {"print-config", "until-empty", "outbox.max_rows=", "markdown"})
            EXPECT_THAT(script, HasSubstr(word)) << shell;
    }
    EXPECT_EQ(completion("tcsh"), "");
}

TEST(Options, WordsAskForDocuments) {
    EXPECT_EQ(parse({"help"}).document, "help");
    EXPECT_EQ(parse({"--help"}).document, "help");
    EXPECT_EQ(parse({"outbox", "--help"}).document, "help");
    EXPECT_EQ(parse({"help", "man"}).document, "man");
    EXPECT_EQ(parse({"completion", "fish"}).document, "fish");
    EXPECT_TRUE(parse({"version"}).version);
    EXPECT_EQ(refusal_of([] { parse({"completion"}); }).code, 1);
    EXPECT_EQ(refusal_of([] { parse({"completion", "tcsh"}); }).code, 1);
    EXPECT_EQ(refusal_of([] { parse({"help", "me"}); }).code, 1);
}

TEST(Options, ASecretComesFromAFileThatAVariableNames) {
    const File file("topsecret\n");
    const auto variable = [](const std::string &path) {
        return std::vector<std::string>{"ONCE_KAFKA_SASL_PASSWORD_FILE=" + path,
                                        "ONCE_DATABASE=dbname=d"};
    };
    const Settings settings = load(parse({"print-config"}), variable(file.path));
    EXPECT_EQ(settings.options.kafka.passthrough.at("sasl.password"), "topsecret");
    EXPECT_THAT(print(settings), Not(HasSubstr("topsecret")));
    EXPECT_EQ(refusal_of([&] { load(parse({"print-config"}), variable("/nowhere")); }).code, 2);
    const File two("a\nb\n");
    EXPECT_EQ(refusal_of([&] { load(parse({"print-config"}), variable(two.path)); }).code, 2);
    EXPECT_EQ(refusal_of([&] {
                  load(parse({"print-config"}),
                       {"ONCE_NOTHING_FILE=" + file.path, "ONCE_OUTBOX_NOTHING_FILE=" + file.path});
              }).code,
              2);
}

TEST(Options, NearestNameOnlyWhenItIsNear) {
    const std::vector<std::string> names{"brokers", "database"};
    EXPECT_EQ(nearest("borkers", names), "brokers");
    EXPECT_EQ(nearest("xyz", names), "");
}

} // namespace
} // namespace once::config
