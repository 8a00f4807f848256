// From the arguments of publish to an event that may be stored: everything that can be wrong with
// one is found here.
#pragma once

#include "outbox/lanes.hpp"

#include <string_view>

namespace once {

// What the application published: stored with the event, so that a content type can be told.
enum class Form : char { json = 'j', text = 't', bytes = 'b' };

// How a key is given. Kafka gets text, numbers and uuids as the text that PostgreSQL writes, in
// UTF-8, so that a key is the same key whatever type its column has; bytes as they are.
enum class KeyForm { text, number, uuid, bytes };

// Datums in the current memory context. `bytes` is what counts against the limit: key, payload and
// headers.
struct Event {
    Datum topic = 0, key = 0, payload = 0, headers = 0;
    Form form = Form::bytes;
    bool has_key = false, has_payload = false, has_headers = false, has_partition = false;
    int partition = 0;
    int lane = 0;
    Oid sequence = InvalidOid; // of that lane: another one means that the lanes were made anew
    size_t bytes = 0;
    const unsigned char *id = nullptr; // 16 bytes that were given out before; else append makes one
};

// What all events of a call share.
struct Topic {
    Datum datum = 0;
    std::string_view name;
    size_t max_bytes = 0;
    int64_t max_backlog = 0; // 0: none
};

// 22004 null, ON001 name or, under once.strict_topics, not declared.
[[nodiscard]] Topic check_topic(const Lanes &known, bool is_null, Datum topic);

// A payload as bytes in UTF-8.
void set_payload(Event &event, Form form, Datum payload, const Topic &topic);

// ON002 longer than 2,000 bytes.
void set_key(Event &event, KeyForm form, Datum key);

// ON003 unless an object of strings, numbers, booleans, nulls, {"$bytes": hex} and arrays of these
// (a header several times), with names that may be used. None at all is null.
void set_headers(Event &event, Datum headers);

// 22023 negative.
void set_partition(Event &event, int partition);

// The last step: size (ON002) and lane.
void finish(Event &event, const Topic &topic, const Lanes &known);

} // namespace once
