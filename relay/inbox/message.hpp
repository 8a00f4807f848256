// A message as it came out of Kafka and what the database is told about it. Pure: no client, no
// session; all views point into what `owner` keeps.
#pragma once

#include "extension/wire/message_headers.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace once::inbox {

struct Header {
    std::string_view name;
    std::optional<std::string_view> value;
};

struct Message {
    std::string_view topic;
    std::int32_t partition = 0;
    std::int64_t offset = 0;
    std::optional<std::string_view> key;
    std::optional<std::string_view> payload;
    std::vector<Header> headers;
    std::optional<std::int64_t> time_ms; // since 1970; nothing when the broker gave none
    std::shared_ptr<void> owner;

    std::size_t bytes() const;
};

// What a duplicate is known by. `from_sender`: the id was given by whoever sent the message. If
// not, it is made of topic, partition and offset; then the offset in the database already is the
// memory, and the id must not enter the consumer's (a topic that is made again counts from 0
// again).
struct Identity {
    std::string id;
    std::string source;
    std::int64_t position = 0;
    bool from_sender = false;
    bool missing = false; // the id that was asked for is not there, or is a copy of another event's
};

// Where the id stands. Paths go before headers; of each all parts must be there.
struct IdentityRule {
    std::vector<std::string> headers = {std::string(wire::kIdHeader)};
    std::vector<std::string> paths; // RFC 6901 pointers into a JSON payload
    bool with_topic = false;        // the same id in another topic is another message

    // Somebody said where it stands. Else a message of a foreign sender has none, and needs none.
    bool asked() const { return !paths.empty() || headers != IdentityRule{}.headers; }
};

// source: `<once-source>/<topic>/<partition>` with once-position, or `<name>/<partition>` with the
// offset: positions rise only within one of them. `name`: the topic, or what stands for one that
// was made again; offsets count from 0 again under it. An id of several parts is the JSON array of
// them. Where `once-topic` is another topic than the message was read from, a processor has copied
// the `once-` headers of another event: they count for nothing.
Identity identify(const Message &message, const IdentityRule &rule, std::string_view name);

// Kafka's keys, header names and values are bytes. Text that PostgreSQL cannot hold (not UTF-8, or
// with a NUL) is given as \x and its hexadecimal digits, as bytea prints it.
std::string as_text(std::string_view bytes);

// The application's headers as a JSON object in their order; a name that comes twice has an array
// of its values, a null value is null; nothing when there are none. Those of the relay (`once-…`)
// are left out: they are fields of once.message.
std::optional<std::string> headers_json(const std::vector<Header> &headers);

// The 16 bytes of a uuid in its canonical spelling; nothing for any other text.
std::optional<std::string> uuid_bytes(std::string_view text);

// A message's timestamp, which may be any number its producer liked; nothing for one that
// timestamptz cannot hold or that is before 1970 (-1: none).
std::optional<std::int64_t> time_of(std::int64_t unix_ms);

} // namespace once::inbox
