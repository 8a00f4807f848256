// From the arguments of publish to an event that may be stored: everything that can be wrong with
// one is found here.
#pragma once

#include "outbox/lanes.hpp"

#include <string_view>

namespace once {

// Datums in the current memory context. `bytes` is what counts against the limit: key, payload and
// headers.
struct Event {
    Datum topic = 0, key = 0, payload = 0, headers = 0;
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

enum class Form { json, text, bytes }; // jsonb; text and json; bytea

// 22004 null, ON001 name or, under once.strict_topics, not declared.
[[nodiscard]] Topic check_topic(const Lanes &known, bool is_null, Datum topic);

// A payload as bytes in UTF-8.
void set_payload(Event &event, Form form, Datum payload, const Topic &topic);

// ON002 longer than 2,000 bytes.
void set_key(Event &event, Datum key);

// ON003 unless a flat object of strings with names that may be used. None at all is null.
void set_headers(Event &event, Datum headers);

// 22023 negative.
void set_partition(Event &event, int partition);

// The last step: size (ON002) and lane.
void finish(Event &event, const Topic &topic, const Lanes &known);

} // namespace once
