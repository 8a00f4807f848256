#include "relay/config/commands.hpp"
#include "relay/config/documents.hpp"
#include "relay/config/table.hpp"
#include "relay/process/exit_code.hpp"

#include <algorithm>

namespace once::config {

namespace {

constexpr std::string_view kHead =
    R"(once-relay: what committed in PostgreSQL goes to Kafka, and what Kafka brings goes into
PostgreSQL, exactly once

Usage: once-relay COMMAND [OPTION]…

)";

constexpr std::string_view kTail =
    R"(
Settings of librdkafka: [kafka] in the file, --set kafka.NAME=VALUE, or ONCE_KAFKA_ and the name in
capitals with _ for each dot (ONCE_KAFKA_SASL_PASSWORD). Those that would break exactness are
refused.

Examples:
  once-relay check  --database 'host=db1 dbname=shop user=relay' --brokers k1:9092,k2:9092
  once-relay outbox --database postgresql://relay@db1/shop --brokers k1:9092 --http 127.0.0.1:9187
  once-relay outbox --config /etc/once-relay.toml --until-empty
  once-relay inbox  --config /etc/once-relay.toml --set kafka.debug=cgrp
  once-relay status --config /etc/once-relay.toml --json

A file:
  database = "host=db1 dbname=shop user=relay"
  brokers  = "k1:9092,k2:9092"
  [outbox]
  on_poison = "hold_key"
  [[inbox]]
  topic   = "orders"
  group   = "billing"
  handler = "billing.apply_orders"
  [kafka]
  "security.protocol" = "ssl"
)";

constexpr std::size_t kColumn = 26; // where the right one begins

void append_row(std::string &text, std::string left, std::string_view right) {
    left.resize(std::max(kColumn, left.size() + 2), ' ');
    text += "  " + left + std::string(right) + "\n";
}

template <typename Owner>
void append(std::string &text, const Entry<Owner> &entry, const std::string &key,
            const std::string &value) {
    text += "  " + key + " " + std::string(entry.takes);
    if (!entry.flag.empty())
        text += "   (" + std::string(entry.flag) + ")";
    text += "   " + environment_name(key) + "\n      " + std::string(entry.help);
    if (value != "\"\"" && value != "[]")
        text += "; default " + value;
    if (entry.most != 0)
        text += ", " + std::to_string(entry.least) + " to " + std::to_string(entry.most);
    text += "\n";
}

} // namespace

std::string help_text() {
    std::string text(kHead);
    text += "Commands:\n";
    for (const CommandEntry &entry : kCommandTable)
        append_row(text, std::string(entry.name) + " " + std::string(entry.takes), entry.help);
    text += "\nOptions:\n";
    for (const FlagEntry &entry : kFlagTable)
        append_row(text, std::string(entry.flag) + " " + std::string(entry.takes), text_of(entry));
    text +=
        "\nOf default, file, environment and flags the later wins. ONCE_…_FILE names a file with "
        "the value.\n\nEvery option: KEY (as in the file and for --set), its flag, its "
        "environment variable.\n";
    const Options defaults;
    for (const Entry<Options> &entry : option_table())
        append(text, entry, std::string(entry.key), toml_value(entry, defaults));
    text += "\n[[inbox]] (the first is number 1):\n";
    const InboxOptions inbox;
    for (const Entry<InboxOptions> &entry : inbox_table())
        append(text, entry, "inbox.1." + std::string(entry.key), toml_value(entry, inbox));
    text += "\nExit codes:\n";
    for (const ExitCodeEntry &entry : kExitCodes)
        append_row(text, std::to_string(static_cast<int>(entry.code)), entry.meaning);
    return text + std::string(kTail);
}

} // namespace once::config
