// Settings that go through to librdkafka, NAME=VALUE a line: whatever is accepted, librdkafka takes
// it afterwards, and what exactness rests on is as the relay set it.
#include "relay/config/kafka_settings.hpp"
#include "relay/process/exit_code.hpp"

#include "test/fuzz/target.hpp"

#include <librdkafka/rdkafka.h>

#include <map>
#include <memory>

using namespace once;
using fuzz::hold;

namespace {

using Conf = std::unique_ptr<rd_kafka_conf_t, decltype(&rd_kafka_conf_destroy)>;

void set(rd_kafka_conf_t *conf, const std::string &name, const std::string &value) {
    char problem[512];
    const auto result =
        rd_kafka_conf_set(conf, name.c_str(), value.c_str(), problem, sizeof problem);
    hold(result == RD_KAFKA_CONF_OK, "what was accepted is taken");
}

std::string get(const rd_kafka_conf_t *conf, const char *name) {
    char value[512] = "";
    std::size_t size = sizeof value;
    static_cast<void>(rd_kafka_conf_get(conf, name, value, &size));
    return value;
}

// As the clients of the relay set it, before the operator's settings.
constexpr std::pair<const char *, const char *> kOurs[] = {
    {"bootstrap.servers", "ours:9092"},
    {"transactional.id", "ours"},
    {"transaction.timeout.ms", "15000"},
    {"enable.idempotence", "true"},
    {"acks", "-1"},
    {"isolation.level", "read_committed"},
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},
    {"group.id", "ours"},
    {"enable.partition.eof", "true"},
    {"delivery.report.only.error", "false"},
    {"message.send.max.retries", "77"},
    {"queuing.strategy", "fifo"},
    {"plugin.library.paths", ""},
    {"test.mock.num.brokers", "0"},
};

void run(std::string_view input) {
    const Conf conf(rd_kafka_conf_new(), &rd_kafka_conf_destroy);
    for (const auto &[name, value] : kOurs)
        if (*value != '\0')
            set(conf.get(), name, value);
    std::map<std::string, std::string> before;
    for (const auto &[name, value] : kOurs)
        before[name] = get(conf.get(), name);
    while (!input.empty()) {
        const std::size_t end = std::min(input.find('\n'), input.size());
        const std::string_view line = input.substr(0, end);
        input.remove_prefix(std::min(end + 1, input.size()));
        const std::size_t equals = std::min(line.find('='), line.size());
        const std::string name(line.substr(0, equals));
        const std::string value(line.substr(std::min(equals + 1, line.size())));
        try {
            config::check_kafka_setting(name, value, "fuzz");
        } catch (const Refusal &refusal) {
            hold(refusal.code == ExitCode::configuration, "its code");
            const std::string said = std::string(refusal.what()) + refusal.detail;
            hold(value.size() < 12 || !config::is_secret_kafka_setting(name) ||
                     name.find(value) != name.npos || said.find(value) == said.npos,
                 "a secret is not said");
            continue;
        }
        set(conf.get(), name, value);
    }
    for (const auto &[name, value] : kOurs)
        hold(get(conf.get(), name) == before[name], name);
}

} // namespace

ONCE_FUZZ_TARGET("kafka", run)
