#include "relay/config/command_line.hpp"
#include "relay/config/table.hpp"

namespace once::config {

namespace {

constexpr std::string_view kHead =
    R"(once-relay: what committed in PostgreSQL goes to Kafka, and what Kafka brings goes into
PostgreSQL, exactly once

Usage: once-relay COMMAND [OPTION]…

Commands:
  outbox        ship committed events to Kafka; a second one on a lane waits as a standby
  inbox         apply the messages of the configured [[inbox]] topics in the database
  status        lanes, backlog, positions, parked keys, what holds back trimming
  check         prove before going live: versions, privileges, topics, ACLs
                (check outbox, check inbox: one side)
  print-config  effective configuration with the origin of each value, without secrets

Options:
  --config FILE        TOML file (environment: ONCE_CONFIG)
  --set KEY=VALUE      any option below; kafka.X=Y hands a setting to librdkafka
  --until-empty        outbox, inbox: drain what is there, then end with 0
  --json               status, check: for machines
  --help, --version

Later wins: default, file, environment, flags.

Every option: KEY (as in the file and for --set), its flag, its environment variable.
)";

constexpr std::string_view kTail =
    R"(
Settings of librdkafka: [kafka] in the file, --set kafka.NAME=VALUE, or ONCE_KAFKA_ and the name in
capitals with _ for each dot (ONCE_KAFKA_SASL_PASSWORD). Those that would break exactness are
refused.

Exit codes: 0 asked to stop, drained or nothing to complain about · 1 usage · 2 configuration ·
3 extension or protocol mismatch · 4 database · 5 Kafka · 6 refused (history changed, position lost:
an operator decides) · 70 bug

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

// A bar inside a cell would end it.
std::string cell(std::string_view text) {
    std::string escaped;
    for (const char c : text)
        escaped += c == '|' ? std::string("\\|") : std::string(1, c);
    return escaped;
}

template <typename Owner>
void append_row(std::string &text, const Entry<Owner> &entry, const std::string &key,
                const std::string &value) {
    const bool none = value == "\"\"" || value == "[]";
    std::string takes = cell(entry.takes);
    if (entry.most != 0)
        takes += ", " + std::to_string(entry.least) + " to " + std::to_string(entry.most);
    text += "| `" + key + "` | " + takes + " | " + (none ? "–" : "`" + cell(value) + "`") + " | " +
            cell(entry.help);
    if (!entry.flag.empty())
        text += ". Flag `" + std::string(entry.flag) + "`";
    text += " |\n";
}

constexpr std::string_view kTableHead =
    "| option | takes | default | meaning |\n|---|---|---|---|\n";

} // namespace

std::string options_markdown() {
    std::string text("# Options of once-relay\n\nWritten by `make reference` from "
                     "`config/table.cpp`; how values are given: "
                     "[relay](README.md#options).\n\n");
    text += kTableHead;
    const Options defaults;
    for (const Entry<Options> &entry : option_table())
        append_row(text, entry, std::string(entry.key), toml_value(entry, defaults));
    text += "\n## An [[inbox]] table\n\nThe first is number 1: `inbox.1.topic`, "
            "`ONCE_INBOX_1_TOPIC`.\n\n";
    text += kTableHead;
    const InboxOptions inbox;
    for (const Entry<InboxOptions> &entry : inbox_table())
        append_row(text, entry, std::string(entry.key), toml_value(entry, inbox));
    return text;
}

std::string help_text() {
    std::string text(kHead);
    const Options defaults;
    for (const Entry<Options> &entry : option_table())
        append(text, entry, std::string(entry.key), toml_value(entry, defaults));
    text += "\n[[inbox]] (the first is number 1):\n";
    const InboxOptions inbox;
    for (const Entry<InboxOptions> &entry : inbox_table())
        append(text, entry, "inbox.1." + std::string(entry.key), toml_value(entry, inbox));
    return text + std::string(kTail);
}

} // namespace once::config
