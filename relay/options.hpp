// What an operator can say, as plain values. Names, defaults, bounds and texts of each option stand
// in one table (config/table.cpp) that drives the TOML file, the environment, the flags, --help and
// print-config.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace once {

enum class PoisonPolicy { hold_key, skip, stop };
enum class InboxStart { earliest, latest, refuse };
enum class RangePolicy { stop, skip };
enum class NoIdPolicy { place, park, stop };
enum class LogFormat { logfmt, json };

std::string_view to_string(PoisonPolicy policy);
std::string_view to_string(InboxStart start);
std::string_view to_string(RangePolicy policy);
std::string_view to_string(NoIdPolicy policy);
std::string_view to_string(LogFormat format);

// When a message that a handler refused is tried again by itself: pauses in seconds, by SQLSTATE
// (five characters), its class (two) or "*" for any. No pauses: not by itself.
struct RetryRules {
    std::map<std::string, std::vector<int>, std::less<>> pauses_s = defaults();

    // The closest rule counts.
    const std::vector<int> &delays_s(std::string_view sqlstate) const;
    // What may heal by itself: a foreign server or file, a lock, a parent row on its way. Not
    // statement_timeout (57014): the message is as slow the next time.
    static std::map<std::string, std::vector<int>, std::less<>> defaults();
};

struct DatabaseOptions {
    std::string conninfo;       // keyword/value string or URI, as libpq takes it
    int connect_timeout_s = 10; // one attempt
    // No option, standbys count on it: idle_session_timeout, idle_in_transaction_session_timeout
    // and tcp_user_timeout.
    int session_timeout_ms = 15000;
};

struct KafkaOptions {
    std::string brokers; // host:port,host:port
    // Handed to librdkafka as they are; config/kafka_settings.hpp refuses what would break
    // exactness.
    std::map<std::string, std::string> passthrough;
    std::string position_topic = "once.positions";
    int position_replication = -1;      // when the relay creates the topic; -1 = at most 3
    int transaction_timeout_ms = 15000; // at most 15 s: how long a dead relay can block readers
    int request_timeout_ms = 10000;     // metadata, admin and offset requests
};

struct OutboxOptions {
    std::vector<int> lanes; // empty: every lane the database has
    PoisonPolicy on_poison = PoisonPolicy::hold_key;
    int producers = 2;                           // ring of producers that take turns
    int max_rows = 20000;                        // per Kafka transaction
    std::int64_t max_bytes = 16LL * 1024 * 1024; // per Kafka transaction
    int slice_rows = 20000;                      // read at once out of a big difference
    int report_ms = 2000; // how often the position is reported and tables are trimmed
    int backoff_min_ms = 20;
    int backoff_max_ms = 5000;
    int stop_ms = 10000; // SIGTERM: finish or drop what is open within this
};

// One [[inbox]] table: Kafka → database, exactly once.
struct InboxOptions {
    std::string topic; // name, or a regular expression that begins with ^ (as librdkafka takes it)
    std::string group; // Kafka consumer group
    std::string consumer;     // consumer name in the database (dedup memory); default: the group
    std::string handler;      // schema.function(messages once.message[]); empty with store
    bool store = false;       // into once.inbox instead of a handler
    bool per_message = false; // the handler takes one once.message
    PoisonPolicy on_poison = PoisonPolicy::hold_key;
    InboxStart start = InboxStart::earliest;         // where a new group begins
    RangePolicy on_out_of_range = RangePolicy::stop; // retention has eaten unread messages
    // Headers that carry the id, all of them together.
    std::vector<std::string> id_header = {"once-id"};
    // Or JSON pointers into the payload (/a/b, RFC 6901), all of them together; empty: not used.
    std::vector<std::string> id_path;
    bool id_with_topic = false;                   // the same id in another topic is another message
    NoIdPolicy on_missing_id = NoIdPolicy::place; // the id that was asked for is not there
    int max_rows = 1000;                          // per database transaction
    std::int64_t max_bytes = 8LL * 1024 * 1024;
    int max_attempts = 5; // of one message alone, then on_poison decides
    RetryRules retry;     // instead of attempts in a row: later, and what follows goes on
    int members = 1;      // consumers of the group inside this process
};

struct HttpOptions {
    std::string listen;        // address:port; empty: no HTTP
    bool allow_remote = false; // metrics name topics and lanes: only loopback unless said so
    int stale_ms = 10000; // without a heartbeat for this long not alive, without a commit not ready
};

struct LogOptions {
    std::string level = "info"; // trace, debug, info, warning, error, off
    LogFormat format = LogFormat::logfmt;
    int repeat_s = 60; // the same event again within so many seconds is counted, not written
};

struct Options {
    DatabaseOptions database;
    KafkaOptions kafka;
    OutboxOptions outbox;
    std::vector<InboxOptions> inbox;
    HttpOptions http;
    LogOptions log;
    bool until_empty = false; // outbox, inbox: drain what is there and end with 0
    bool json = false;        // status and check: for machines
};

} // namespace once
