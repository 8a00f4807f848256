// What ps shows of the arguments once they are read.
#include "relay/config/secrets.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace once {
namespace {

std::vector<std::string> hidden(std::vector<std::string> words) {
    words.insert(words.begin(), "once-relay");
    std::vector<char *> argv;
    for (std::string &word : words)
        argv.push_back(word.data());
    argv.push_back(nullptr);
    hide_secrets(static_cast<int>(words.size()), argv.data());
    words.erase(words.begin());
    return words;
}

struct Case {
    std::vector<std::string> given, shown;
};

TEST(Secrets, PasswordsInTheArgumentsAreOverwritten) {
    const Case cases[] = {
        {{"outbox", "--database", "host=h user=u"}, {"outbox", "--database", "host=h user=u"}},
        {{"--database", "host=h password=p"}, {"--database", "*****************"}},
        {{"--database=host=h password=p"}, {"--database=*****************"}},
        {{"--database", "postgres://u:p@h/d"}, {"--database", "******************"}},
        {{"--database", "postgres://u@h/d"}, {"--database", "postgres://u@h/d"}},
        {{"--database", "password='p"}, {"--database", "***********"}}, // unreadable
        {{"--set", "kafka.sasl.password=p=q"}, {"--set", "kafka.sasl.password=***"}},
        {{"--set=kafka.ssl.key.password=pq"}, {"--set=kafka.ssl.key.password=**"}},
        {{"--set", "kafka.ssl.key.pem=pq"}, {"--set", "kafka.ssl.key.pem=**"}},
        {{"--set", "database=password=p"}, {"--set", "database=**********"}},
        {{"--set", "kafka.sasl.username=u"}, {"--set", "kafka.sasl.username=u"}},
        {{"--set", "kafka.sasl.password"}, {"--set", "kafka.sasl.password"}},
        {{"--database"}, {"--database"}}, // the value is missing
        {{"--set"}, {"--set"}},
        {{"--databases", "password=p"}, {"--databases", "password=p"}}, // no flag of ours: refused
    };
    for (const Case &one : cases)
        EXPECT_EQ(hidden(one.given), one.shown);
}

} // namespace
} // namespace once
