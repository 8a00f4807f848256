#include "relay/config/kafka_settings.hpp"

#include "relay/config/nearest.hpp"
#include "relay/process/exit_code.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include <librdkafka/rdkafka.h>

namespace once::config {

namespace {

// A setting the relay depends on. `allowed` with | between; empty: the relay sets it itself, no
// value is taken.
struct Guarded {
    std::string_view name;
    std::string_view allowed;
    std::string_view reason;
};

constexpr Guarded kGuarded[] = {
    {"bootstrap.servers", "", "The brokers are the option \"brokers\"."},
    {"metadata.broker.list", "", "The brokers are the option \"brokers\"."},
    {"transactional.id", "", "The relay names its producers after incarnation and lane."},
    {"transaction.timeout.ms", "", "It is the option \"outbox.transaction_timeout_ms\"."},
    {"enable.idempotence", "true", "Without it a retry doubles or reorders messages."},
    {"enable.gapless.guarantee", "true|false", ""},
    {"acks", "all|-1", "An event acknowledged by fewer replicas can be lost."},
    {"request.required.acks", "all|-1", "An event acknowledged by fewer replicas can be lost."},
    {"isolation.level", "read_committed", "Reading uncommitted data applies what never happened."},
    {"enable.auto.commit", "false", "The offset stands in the database, with its effect."},
    {"auto.commit.enable", "false", "The offset stands in the database, with its effect."},
    {"enable.auto.offset.store", "false", "The offset stands in the database, with its effect."},
    {"auto.offset.reset", "", "Where a group begins is the option \"start\" of [[inbox]]."},
    {"group.id", "", "The group is the option \"group\" of [[inbox]]."},
    {"group.instance.id", "", "Members of one process would fence each other."},
    {"enable.partition.eof", "true", "The end of a topic is known by that event only."},
    {"delivery.report.only.error", "false", "Every delivery report is counted before a commit."},
    {"message.timeout.ms", "", "It follows from the option \"outbox.transaction_timeout_ms\"."},
    {"delivery.timeout.ms", "", "It follows from the option \"outbox.transaction_timeout_ms\"."},
    {"message.send.max.retries", "", "A send ends by time, never by a number of attempts."},
    {"retries", "", "A send ends by time, never by a number of attempts."},
    {"queuing.strategy", "fifo", "Any other order breaks the order of a key."},
    {"max.in.flight.requests.per.connection", "1|2|3|4|5", "More breaks the order of a key."},
    {"max.in.flight", "1|2|3|4|5", "More breaks the order of a key."},
    {"partitioner", "murmur2_random|murmur2|consistent_random|consistent|fnv1a_random|fnv1a",
     "A key that moves between partitions has no order."},
    {"test.mock.num.brokers", "", "The mock cluster keeps nothing and fences nobody."},
    {"test.mock.broker.rtt", "", "The mock cluster keeps nothing and fences nobody."},
    {"plugin.library.paths", "", "A plugin may drop, change or double messages."},
};

// Also of versions newer than ours: sasl.oauthbearer.assertion.private.key.passphrase and ….pem.
constexpr std::string_view kSecretParts[] = {"password",           "passphrase", "secret",
                                             "oauthbearer.config", "key.pem",    "ssl_key"};

bool is_one_of(std::string_view value, std::string_view allowed) {
    while (!allowed.empty()) {
        const std::size_t end = std::min(allowed.find('|'), allowed.size());
        if (std::equal(value.begin(), value.end(), allowed.begin(), allowed.begin() + end,
                       [](unsigned char a, unsigned char b) { return std::tolower(a) == b; }))
            return true;
        allowed.remove_prefix(std::min(end + 1, allowed.size()));
    }
    return false;
}

std::string with_commas(std::string_view allowed) {
    std::string text;
    for (const char c : allowed)
        text += c == '|' ? std::string(", ") : std::string(1, c);
    return text;
}

void refuse_guarded(std::string_view name, std::string_view value, std::string_view origin) {
    const auto rule = std::find_if(std::begin(kGuarded), std::end(kGuarded),
                                   [&](const Guarded &guarded) { return guarded.name == name; });
    if (rule == std::end(kGuarded) || is_one_of(value, rule->allowed))
        return;
    const std::string what =
        rule->allowed.empty()
            ? "cannot set \"kafka." + std::string(name) + "\""
            : "cannot set \"kafka." + std::string(name) + "\" to \"" + std::string(value) + "\"";
    throw Refusal(
        ExitCode::configuration, what + " (" + std::string(origin) + ")", std::string(rule->reason),
        rule->allowed.empty() ? "Remove it."
                              : "Remove it, or set one of: " + with_commas(rule->allowed) + ".");
}

// The list stands in no other interface than the table librdkafka prints for its documentation.
std::vector<std::string> read_property_names() {
    char *text = nullptr;
    std::size_t size = 0;
    std::FILE *stream = open_memstream(&text, &size);
    if (stream == nullptr)
        return {};
    rd_kafka_conf_properties_show(stream);
    std::fclose(stream);
    const std::unique_ptr<char, decltype(&std::free)> owner(text, &std::free);
    std::vector<std::string> names;
    for (std::string_view rest(text, size); !rest.empty();) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        const std::string_view line = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        const std::size_t blank = line.find(' ');
        if (line.find('|') == std::string_view::npos || blank == 0 ||
            blank == std::string_view::npos)
            continue;
        const std::string_view name = line.substr(0, blank);
        if (name != "Property" && name.find("---") == std::string_view::npos)
            names.emplace_back(name);
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
}

} // namespace

const std::vector<std::string> &kafka_property_names() {
    static const std::vector<std::string> names = read_property_names();
    return names;
}

void check_kafka_setting(std::string_view name, std::string_view value, std::string_view origin) {
    const std::string property(name);
    // librdkafka reads up to it: another setting than the one that is guarded here.
    if (name.find('\0') != std::string_view::npos || value.find('\0') != std::string_view::npos)
        throw Refusal(ExitCode::configuration,
                      "cannot use a NUL character in the [kafka] settings (" + std::string(origin) +
                          ")");
    refuse_guarded(name, value, origin);
    const std::unique_ptr<rd_kafka_conf_t, decltype(&rd_kafka_conf_destroy)> scratch(
        rd_kafka_conf_new(), &rd_kafka_conf_destroy);
    std::array<char, 512> problem{};
    switch (rd_kafka_conf_set(scratch.get(), property.c_str(), std::string(value).c_str(),
                              problem.data(), problem.size())) {
    case RD_KAFKA_CONF_OK:
        return;
    case RD_KAFKA_CONF_UNKNOWN:
        throw Refusal(
            ExitCode::configuration,
            "unknown librdkafka setting \"" + property + "\" (" + std::string(origin) + ")", {},
            did_you_mean(name, kafka_property_names(),
                         "Settings are listed in CONFIGURATION.md of librdkafka."));
    case RD_KAFKA_CONF_INVALID:
        break;
    }
    // librdkafka's text may quote the value.
    const std::string text(problem.data());
    const bool secret = is_secret_kafka_setting(name) && text.find(value) != std::string::npos;
    throw Refusal(ExitCode::configuration,
                  "cannot use the value of \"kafka." + property + "\" (" + std::string(origin) +
                      ")",
                  secret ? std::string() : text + ".");
}

bool is_secret_kafka_setting(std::string_view name) {
    return std::any_of(
        std::begin(kSecretParts), std::end(kSecretParts),
        [&](std::string_view part) { return name.find(part) != std::string_view::npos; });
}

} // namespace once::config
