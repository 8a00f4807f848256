#include "relay/config/table.hpp"

#include "relay/config/retry_rules.hpp"
#include "relay/process/whole_number.hpp"

#include <algorithm>

namespace once::config {

namespace {

constexpr std::int64_t kKilobyte = 1024;
constexpr std::int64_t kMegabyte = 1024 * kKilobyte;
constexpr std::int64_t kMinute = 60'000; // ms

#define AT(member) [](Options &o) -> Slot { return &o.member; }
const Entry<Options> kOptions[] = {
    {.key = "database",
     .takes = "CONNINFO",
     .help = "connection string or URI of the database, as libpq takes it",
     .slot = AT(database.conninfo),
     .flag = "--database",
     .secret = true},
    {.key = "brokers",
     .takes = "LIST",
     .help = "Kafka bootstrap brokers, host:port with commas between",
     .slot = AT(kafka.brokers),
     .flag = "--brokers"},
    {"outbox.lanes", "N,…", "lanes to ship; empty: every lane of the database", AT(outbox.lanes), 0,
     63, "--lane"},
    {.key = "outbox.on_poison",
     .takes = "hold_key|skip|stop",
     .help = "what becomes of an event that Kafka refuses for good: it and all later ones of "
             "its key are parked, only it is parked, or the relay ends with exit 5",
     .slot = AT(outbox.on_poison)},
    {"outbox.producers", "N", "Kafka producers that take turns", AT(outbox.producers), 1, 2},
    {"outbox.max_rows", "N", "events in one Kafka transaction", AT(outbox.max_rows), 1, 100'000},
    {"outbox.max_bytes", "BYTES", "bytes in one Kafka transaction", AT(outbox.max_bytes),
     64 * kKilobyte, 32 * kMegabyte},
    {"outbox.slice_rows", "N", "rows read at once out of a big difference", AT(outbox.slice_rows),
     1, 100'000},
    {"outbox.report_ms", "MS", "how often progress is reported to the database and tables trimmed",
     AT(outbox.report_ms), 100, 10 * kMinute},
    {"outbox.backoff_min_ms", "MS", "first pause after a failure", AT(outbox.backoff_min_ms), 1,
     5000},
    {"outbox.backoff_max_ms", "MS", "longest pause after failures", AT(outbox.backoff_max_ms), 10,
     kMinute},
    {"outbox.stop_ms", "MS", "SIGTERM: finish or drop the open transaction within",
     AT(outbox.stop_ms), 100, kMinute},
    {.key = "outbox.position_topic",
     .takes = "TOPIC",
     .help = "topic of the positions; changing it loses the place",
     .slot = AT(kafka.position_topic)},
    {"outbox.position_replication", "N",
     "replicas of that topic when the relay creates it; -1: 3, or as many as there are brokers",
     AT(kafka.position_replication), -1, 32},
    {"outbox.transaction_timeout_ms", "MS",
     "how long the open transaction of a dead relay can block read_committed "
     "readers",
     AT(kafka.transaction_timeout_ms), 1000, 15'000},
    {"outbox.request_timeout_ms", "MS", "one metadata, offset or admin request",
     AT(kafka.request_timeout_ms), 1000, kMinute},
    {.key = "http.listen",
     .takes = "ADDR:PORT",
     .help = "serve /metrics, /healthz and /readyz there; empty: do not; port 0: a free one, "
             "which the log names",
     .slot = AT(http.listen),
     .flag = "--http"},
    {.key = "http.allow_remote",
     .takes = "true|false",
     .help = "allow an address that is not loopback: there is no authentication",
     .slot = AT(http.allow_remote)},
    {"http.stale_ms", "MS",
     "without a heartbeat for this long a worker is not alive; without a commit, "
     "not ready",
     AT(http.stale_ms), 1000, 10 * kMinute},
    {.key = "log.level",
     .takes = "trace|debug|info|warning|error|off",
     .help = "least level that is written to stderr",
     .slot = AT(log.level),
     .flag = "--log-level"},
    {.key = "log.format",
     .takes = "logfmt|json",
     .help = "a log line as key=value, or as one JSON object",
     .slot = AT(log.format)},
    {"log.repeat_s", "S", "repeats within this time are counted, not written", AT(log.repeat_s), 0,
     3600},
};
#undef AT

#define AT(member) [](InboxOptions &i) -> Slot { return &i.member; }
const Entry<InboxOptions> kInboxOptions[] = {
    {.key = "topic",
     .takes = "TOPIC",
     .help = "topic to read, or a regular expression that begins with ^",
     .slot = AT(topic)},
    {.key = "group", .takes = "GROUP", .help = "Kafka consumer group", .slot = AT(group)},
    {.key = "consumer",
     .takes = "NAME",
     .help = "consumer in the database, whose memory of ids is used; default: the group",
     .slot = AT(consumer)},
    {.key = "handler",
     .takes = "SCHEMA.FUNCTION",
     .help = "SQL function called with once.message[] in the transaction of dedup and offset",
     .slot = AT(handler)},
    {.key = "store",
     .takes = "true|false",
     .help = "put the messages into once.inbox instead of calling a handler",
     .slot = AT(store)},
    {.key = "per_message",
     .takes = "true|false",
     .help = "the handler takes one once.message",
     .slot = AT(per_message)},
    {.key = "on_poison",
     .takes = "hold_key|skip|stop",
     .help =
         "a message whose handler keeps failing: hold_key parks it and all later ones of its key, "
         "skip parks it alone, stop ends with exit 6",
     .slot = AT(on_poison)},
    {.key = "start",
     .takes = "earliest|latest|refuse",
     .help =
         "where a group begins a topic that the database does not know; partitions that are added "
         "later are read whole",
     .slot = AT(start)},
    {.key = "on_out_of_range",
     .takes = "stop|skip",
     .help =
         "when Kafka's retention has removed unread messages: stop ends with exit 6, skip goes on "
         "without them",
     .slot = AT(on_out_of_range)},
    {.key = "id_header",
     .takes = "NAME,…",
     .help = "header that carries the id of a message; several: all of them together",
     .slot = AT(id_header)},
    {.key = "id_path",
     .takes = "/A/B,…",
     .help = "or a JSON pointer to the id in the payload; several: all of them together",
     .slot = AT(id_path)},
    {.key = "id_with_topic",
     .takes = "true|false",
     .help = "the same id in another topic is another message",
     .slot = AT(id_with_topic)},
    {.key = "on_missing_id",
     .takes = "place|park|stop",
     .help = "a message without the id that was asked for: place knows it by topic, partition and "
             "offset, park puts it aside, stop ends with exit 6",
     .slot = AT(on_missing_id)},
    {"max_rows", "N", "messages in one database transaction", AT(max_rows), 1, 100'000},
    {"max_bytes", "BYTES", "bytes in one database transaction", AT(max_bytes), 64 * kKilobyte,
     32 * kMegabyte},
    {"max_attempts", "N", "attempts at one message before on_poison decides", AT(max_attempts), 1,
     1000},
    {.key = "retry",
     .takes = "PAUSES",
     .help = "pauses after which a refused message is tried again by itself, for all or by "
             "SQLSTATE, class or name: 23503=1s 10s 1m,08=30s; what heals has some by default",
     .slot = AT(retry)},
    {"members", "N", "consumers of the group in this process", AT(members), 1, 64},
};
#undef AT

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (std::size_t at = 0;;) {
        const std::size_t end = text.find(separator, at);
        parts.push_back(text.substr(at, end - at));
        if (end == std::string_view::npos)
            return parts;
        at = end + 1;
    }
}

template <typename Number>
bool parse_integer(std::string_view text, std::int64_t least, std::int64_t most, Number &into) {
    const auto value = whole_number<std::int64_t>(text);
    if (!value || *value < least || *value > most)
        return false;
    into = static_cast<Number>(*value);
    return true;
}

// Of a list with commas between. JSON pointers begin with a slash and may have commas inside.
std::size_t end_of_element(std::string_view list) {
    return std::min(list.size(), list.find(list.starts_with('/') ? ",/" : ","));
}

struct Bounds {
    std::int64_t least, most;
    std::string_view takes;
};

// One overload per type an option can have.
struct Parser {
    Bounds bounds;
    std::string_view text;

    bool operator()(std::string *into) const {
        if (text.find('\0') != std::string_view::npos)
            return false;
        if (bounds.takes.find('|') != std::string_view::npos && !is_choice())
            return false;
        *into = text;
        return true;
    }
    bool operator()(int *into) const {
        return parse_integer(text, bounds.least, bounds.most, *into);
    }
    bool operator()(std::int64_t *into) const {
        return parse_integer(text, bounds.least, bounds.most, *into);
    }
    bool operator()(bool *into) const {
        if (text != "true" && text != "false")
            return false;
        *into = text == "true";
        return true;
    }
    bool operator()(std::vector<int> *into) const {
        std::vector<int> values;
        for (std::string_view part :
             text.empty() ? std::vector<std::string_view>() : split(text, ','))
            if (!parse_integer(part, bounds.least, bounds.most, values.emplace_back()))
                return false;
        *into = std::move(values);
        return true;
    }
    bool operator()(std::vector<std::string> *into) const {
        into->clear();
        if (text.find('\0') != std::string_view::npos)
            return false;
        for (std::string_view rest = text; !rest.empty();) {
            const std::size_t end = end_of_element(rest);
            into->emplace_back(rest.substr(0, end));
            if (into->back().empty())
                return false;
            rest.remove_prefix(std::min(rest.size(), end + 1));
        }
        return true;
    }
    bool operator()(RetryRules *into) const {
        auto rules = retry_rules_of(text);
        if (rules)
            *into = *std::move(rules);
        return rules.has_value();
    }
    template <typename Enum> bool operator()(Enum *into) const {
        // The enumerator's own name decides: the order of the words in `takes` means nothing.
        for (std::size_t i = 0; i < split(bounds.takes, '|').size(); ++i)
            if (const auto value = static_cast<Enum>(i); to_string(value) == text) {
                *into = value;
                return true;
            }
        return false;
    }

    bool is_choice() const {
        const auto names = split(bounds.takes, '|');
        return std::find(names.begin(), names.end(), text) != names.end();
    }
};

struct Printer {
    std::string operator()(const std::string *value) const { return quote_toml(*value); }
    std::string operator()(const int *value) const { return std::to_string(*value); }
    std::string operator()(const std::int64_t *value) const { return std::to_string(*value); }
    std::string operator()(const bool *value) const { return *value ? "true" : "false"; }
    std::string operator()(const std::vector<int> *values) const {
        std::string list;
        for (int value : *values)
            list += (list.empty() ? "" : ", ") + std::to_string(value);
        return "[" + list + "]";
    }
    std::string operator()(const std::vector<std::string> *values) const {
        std::string list;
        for (const std::string &value : *values)
            list += (list.empty() ? "" : ", ") + quote_toml(value);
        return "[" + list + "]";
    }
    std::string operator()(const RetryRules *rules) const { return quote_toml(to_text(*rules)); }
    template <typename Enum> std::string operator()(const Enum *value) const {
        return quote_toml(to_string(*value));
    }
};

std::string range(const Bounds &bounds) {
    return "from " + std::to_string(bounds.least) + " to " + std::to_string(bounds.most);
}

struct TypeName {
    Bounds bounds;

    std::string operator()(const std::string *) const {
        return bounds.takes.find('|') == std::string_view::npos ? "a string" : one_of();
    }
    std::string operator()(const int *) const { return "an integer " + range(bounds); }
    std::string operator()(const std::int64_t *) const { return "an integer " + range(bounds); }
    std::string operator()(const bool *) const { return "true or false"; }
    std::string operator()(const std::vector<int> *) const {
        return "a list of integers " + range(bounds);
    }
    std::string operator()(const std::vector<std::string> *) const {
        return "a string or a list of strings";
    }
    std::string operator()(const RetryRules *) const { return std::string(kRetryRules); }
    template <typename Enum> std::string operator()(const Enum *) const { return one_of(); }

    std::string one_of() const {
        std::string text = "one of ";
        for (std::string_view name : split(bounds.takes, '|'))
            text.append(text.size() > 7 ? ", " : "").append(quote_toml(name));
        return text;
    }
};

} // namespace

std::span<const Entry<Options>> option_table() {
    return kOptions;
}
std::span<const Entry<InboxOptions>> inbox_table() {
    return kInboxOptions;
}

std::string environment_name(std::string_view key) {
    std::string name = "ONCE_";
    for (const char c : key)
        name += c == '.' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    return name;
}

template <typename Owner>
std::optional<std::string> store(const Entry<Owner> &entry, Owner &owner, std::string_view text) {
    const Parser parser{{entry.least, entry.most, entry.takes}, text};
    if (std::visit(parser, entry.slot(owner)))
        return std::nullopt;
    return "It takes " + type_of(entry) + ".";
}

template <typename Owner> std::string toml_value(const Entry<Owner> &entry, const Owner &owner) {
    // The slot only hands out a pointer; nothing is written through it here.
    return std::visit(Printer{}, entry.slot(const_cast<Owner &>(owner)));
}

template <typename Owner> std::string type_of(const Entry<Owner> &entry) {
    Owner scratch;
    return std::visit(TypeName{{entry.least, entry.most, entry.takes}}, entry.slot(scratch));
}

template std::optional<std::string> store(const Entry<Options> &, Options &, std::string_view);
template std::optional<std::string> store(const Entry<InboxOptions> &, InboxOptions &,
                                          std::string_view);
template std::string toml_value(const Entry<Options> &, const Options &);
template std::string toml_value(const Entry<InboxOptions> &, const InboxOptions &);
template std::string type_of(const Entry<Options> &);
template std::string type_of(const Entry<InboxOptions> &);

std::string quote_toml(std::string_view text) {
    std::string quoted = "\"";
    for (const unsigned char c : text) {
        if (c == '"' || c == '\\')
            quoted += '\\';
        if (c >= ' ' && c != 0x7f) {
            quoted += static_cast<char>(c);
        } else {
            constexpr char digits[] = "0123456789abcdef";
            quoted.append("\\u00").append(1, digits[c >> 4]).append(1, digits[c & 15]);
        }
    }
    return quoted + '"';
}

} // namespace once::config
