// The ceiling for `inbox`: a read_committed librdkafka consumer that copies what it reads into a
// table by COPY BINARY, a transaction per batch. It knows no duplicates, no group, no offsets in
// the database. --columns says which table: `inbox` (the columns of once.inbox) or `id` (a key
// table). Prints one JSON line: messages, seconds, messages a second.
#include "kafka_bench.hpp"

#include <libpq-fe.h>

#include <cstdint>

using namespace bench;

namespace {

// Rows of a binary COPY.
class Rows {
  public:
    void start(int16_t fields) { number(fields); }
    template <typename Number> void number(Number value) {
        for (int shift = 8 * (static_cast<int>(sizeof value) - 1); shift >= 0; shift -= 8)
            bytes.push_back(static_cast<char>(static_cast<uint64_t>(value) >> shift));
    }
    void text(const void *data, size_t size) {
        number(static_cast<int32_t>(size));
        bytes.append(static_cast<const char *>(data), size);
    }
    void text(const std::string &value) { text(value.data(), value.size()); }
    void nothing() { number<int32_t>(-1); }
    void int4(int32_t value) {
        number<int32_t>(4);
        number(value);
    }
    void int8(int64_t value) {
        number<int32_t>(8);
        number(value);
    }
    std::string bytes;
};

struct Options {
    std::string table;
    bool inbox;
};

void must(PGconn *database, PGresult *result, ExecStatusType wanted) {
    if (PQresultStatus(result) != wanted)
        die(PQerrorMessage(database));
    PQclear(result);
}

std::string header(rd_kafka_headers_t *headers, const char *name) {
    const void *value;
    size_t size;
    if (headers == nullptr || rd_kafka_header_get_last(headers, name, &value, &size))
        return {};
    return {static_cast<const char *>(value), size};
}

// consumer, id, seq, source, topic, partition, log_offset, key, payload, headers, pos, sent_at
void add_inbox(Rows &rows, const rd_kafka_message_t *message, int64_t seq,
               rd_kafka_headers_t *headers) {
    rows.start(12);
    rows.text("bench");
    rows.text(header(headers, "once-id"));
    rows.int8(seq);
    rows.text(header(headers, "once-source") + "/" + rd_kafka_topic_name(message->rkt) + "/" +
              std::to_string(message->partition));
    rows.text(rd_kafka_topic_name(message->rkt));
    rows.int4(message->partition);
    rows.int8(message->offset);
    rows.text(message->key, message->key_len);
    rows.text(message->payload, message->len);
    const std::string json = "{\"trace\": \"" + header(headers, "trace") + "\", \"tenant\": \"" +
                             header(headers, "tenant") + "\", \"type\": \"" +
                             header(headers, "type") + "\"}";
    rows.number(static_cast<int32_t>(json.size() + 1));
    rows.bytes.push_back(1);
    rows.bytes += json;
    rows.int8(std::atol(header(headers, "once-position").c_str()));
    rows.int8((rd_kafka_message_timestamp(message, nullptr) - 946684800000) * 1000);
}

void add_id(Rows &rows, rd_kafka_headers_t *headers) {
    rows.start(1);
    const std::string id = header(headers, "once-id");
    rows.number<int32_t>(16);
    int half = -1;
    for (char c : id) {
        if (c == '-')
            continue;
        const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
        if (half < 0) {
            half = digit;
        } else {
            rows.bytes.push_back(static_cast<char>(half << 4 | digit));
            half = -1;
        }
    }
}

void copy(PGconn *database, const Options &options, const std::string &rows) {
    const std::string columns = options.inbox ? "consumer, id, seq, source, topic, partition, "
                                                "log_offset, key, payload, headers, pos, sent_at"
                                              : "id";
    must(database, PQexec(database, "BEGIN"), PGRES_COMMAND_OK);
    must(
        database,
        PQexec(database,
               ("COPY " + options.table + " (" + columns + ") FROM STDIN (FORMAT binary)").c_str()),
        PGRES_COPY_IN);
    const std::string start("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
    PQputCopyData(database, start.data(), static_cast<int>(start.size()));
    PQputCopyData(database, rows.data(), static_cast<int>(rows.size()));
    PQputCopyData(database, "\377\377", 2);
    PQputCopyEnd(database, nullptr);
    must(database, PQgetResult(database), PGRES_COMMAND_OK);
    PQclear(PQgetResult(database));
    must(database, PQexec(database, "COMMIT"), PGRES_COMMAND_OK);
}

rd_kafka_t *consumer(const Arguments &arguments) {
    rd_kafka_t *handle =
        client(RD_KAFKA_CONSUMER, {{"bootstrap.servers", arguments.text("brokers")},
                                   {"group.id", "raw-" + arguments.text("table")},
                                   {"enable.auto.commit", "false"},
                                   {"check.crcs", "true"},
                                   {"queued.max.messages.kbytes", "16384"},
                                   {"fetch.max.bytes", "8388608"}});
    rd_kafka_poll_set_consumer(handle);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    for (long i = 0; i < arguments.number("partitions", 4); i++)
        rd_kafka_topic_partition_list_add(list, arguments.text("topic").c_str(),
                                          static_cast<int32_t>(i))
            ->offset = 0;
    rd_kafka_assign(handle, list);
    rd_kafka_topic_partition_list_destroy(list);
    return handle;
}

} // namespace

int main(int argc, char **argv) {
    Arguments arguments(argc, argv);
    const Options options{arguments.text("table"), arguments.text("columns", "inbox") == "inbox"};
    PGconn *database = PQconnectdb(arguments.text("database").c_str());
    if (PQstatus(database) != CONNECTION_OK)
        die(PQerrorMessage(database));
    const long count = arguments.number("count", 1000000), batch = arguments.number("batch", 1000);
    const double start = now_seconds();
    rd_kafka_t *source = consumer(arguments);
    long seen = 0, in_batch = 0;
    Rows rows;
    while (seen < count) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(source, in_batch > 0 ? 0 : 1000);
        if (message != nullptr) {
            if (message->err)
                die(rd_kafka_message_errstr(message));
            rd_kafka_headers_t *headers = nullptr;
            rd_kafka_message_headers(message, &headers);
            options.inbox ? add_inbox(rows, message, seen, headers) : add_id(rows, headers);
            rd_kafka_message_destroy(message);
            seen++;
            in_batch++;
        }
        if (in_batch > 0 && (message == nullptr || in_batch == batch || seen == count)) {
            copy(database, options, rows.bytes);
            rows.bytes.clear();
            in_batch = 0;
        }
    }
    const double seconds = now_seconds() - start;
    std::printf("{\"messages\": %ld, \"seconds\": %.3f, \"rate\": %.0f}\n", seen, seconds,
                static_cast<double>(seen) / seconds);
    rd_kafka_destroy(source);
    PQfinish(database);
    return 0;
}
