// once.publish and once.publish_many: arguments to events, events to rows.
#include "outbox/append.hpp"
#include "arguments.hpp"
#include "outbox/backlog.hpp"
#include "errors.hpp"
#include "pg/array.hpp"
#include "pg/memory.hpp"
#include "pg/value.hpp"
#include "outbox/dedup_key.hpp"
#include "outbox/scheduled.hpp"
#include "outbox/session_headers.hpp"

#include <vector>

extern "C" {
#include <catalog/pg_type.h>
#include <utils/timestamp.h>
}

namespace once {
namespace {

// Events of one call that are written together: bounds the memory of a call with a million of them.
constexpr size_t kBatchEvents = 1000;
constexpr size_t kBatchBytes = 4 * 1024 * 1024;

// Where the arguments of a publishing function stand, from 0; what a function does not have is -1.
struct Places {
    int payload[3]; // json, text, bytes
    int key[2];     // of the function's own form, bytes
    int headers, partition, dedup_key, deliver_at, id;
};

// The argument that is given of several that exclude each other, or -1.
template <size_t N>
int only_one(FunctionCallInfo fcinfo, const int (&places)[N], const char *what) {
    int found = -1;
    for (size_t i = 0; i < N; ++i) {
        if (places[i] < 0 || PG_ARGISNULL(places[i]))
            continue;
        if (found >= 0)
            throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE,
                              std::string("more than one ") + what + " is given"};
        found = static_cast<int>(i);
    }
    return found;
}

void set_payload(Event &event, FunctionCallInfo fcinfo, const Places &at, const Topic &topic) {
    constexpr Form kForms[] = {Form::json, Form::text, Form::bytes};
    const int given = only_one(fcinfo, at.payload, "payload");
    if (given >= 0)
        set_payload(event, kForms[given], PG_GETARG_DATUM(at.payload[given]), topic);
    else
        for (int i = 2; i >= 0; --i) // a tombstone is of the form that it was published as
            if (at.payload[i] >= 0)
                event.form = kForms[i];
}

// The id has to be known before the event is written: its dedup key is stored with it, or it waits
// in once.scheduled. A key that stands already answers with the first event's id, and nothing is
// written.
Datum publish_by_id(FunctionCallInfo fcinfo, const Places &at, const Topic &topic, Event &event) {
    EventId id;
    if (PG_ARGISNULL(at.id))
        new_id(GetCurrentTimestamp(), id.data());
    else
        memcpy(id.data(), PG_GETARG_UUID_P(at.id)->data, id.size());
    if (!PG_ARGISNULL(at.dedup_key)) {
        const EventId first =
            claim_publish_key(topic.datum, name_argument(fcinfo, at.dedup_key, "dedup_key"), id);
        if (first != id)
            return pg::uuid_of(first);
    }
    event.id = id.data();
    const TimestampTz due =
        PG_ARGISNULL(at.deliver_at) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(at.deliver_at);
    if (due > GetCurrentTimestamp())
        schedule(event, due);
    else
        (void)append(event);
    return pg::uuid_of(id);
}

Datum publish(FunctionCallInfo fcinfo, const Places &at, KeyForm key_form) {
    check_writable("once.publish()");
    const Lanes &known = lanes();
    const Topic topic = check_topic(known, PG_ARGISNULL(0), PG_GETARG_DATUM(0));
    Event event;
    set_payload(event, fcinfo, at, topic);
    if (const int given = only_one(fcinfo, at.key, "key"); given >= 0)
        set_key(event, given == 0 ? key_form : KeyForm::bytes, PG_GETARG_DATUM(at.key[given]));
    if (!PG_ARGISNULL(at.headers))
        set_headers(event, PG_GETARG_DATUM(at.headers));
    add_session_headers(event);
    if (!PG_ARGISNULL(at.partition))
        set_partition(event, PG_GETARG_INT32(at.partition));
    finish(event, topic, known);
    if (topic.max_backlog > 0)
        check_backlog(event.lane, topic.max_backlog);
    if (!PG_ARGISNULL(at.dedup_key) || !PG_ARGISNULL(at.deliver_at) || !PG_ARGISNULL(at.id))
        return publish_by_id(fcinfo, at, topic, event);
    return pg::uuid_of(append(event).id);
}

// publish, publish_text, publish_bytes: (topic, payload, key, headers, partition, dedup_key,
// deliver_at, id).
template <Form form> constexpr Places plain_places() {
    return {
        {form == Form::json ? 1 : -1, form == Form::text ? 1 : -1, form == Form::bytes ? 1 : -1},
        {2, -1},
        3,
        4,
        5,
        6,
        7};
}

// publish_event: (topic, payload, payload_text, payload_bytes, key, key_bytes, headers, ...).
constexpr Places kNamedPlaces = {{1, 2, 3}, {4, 5}, 6, 7, 8, 9, 10};

struct ManyArguments {
    pg::Elements keys, payloads, headers;
};

Oid element_of(Form form) {
    return form == Form::json ? JSONBOID : form == Form::text ? TEXTOID : BYTEAOID;
}

ManyArguments many_arguments(FunctionCallInfo fcinfo, Form form) {
    if (PG_ARGISNULL(1))
        throw pg::Failure{ERRCODE_NULL_VALUE_NOT_ALLOWED, "payloads must not be null",
                          "An element may be: it is a tombstone."};
    const ManyArguments found = {pg::elements_of(fcinfo, 2, "keys", TEXTOID),
                                 pg::elements_of(fcinfo, 1, "payloads", element_of(form)),
                                 pg::elements_of(fcinfo, 3, "headers", JSONBOID)};
    const auto differs = [&](const pg::Elements &other, int argument) {
        return !PG_ARGISNULL(argument) && other.count != found.payloads.count;
    };
    if (differs(found.keys, 2) || differs(found.headers, 3))
        throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "arrays of different length",
                          "There are " + std::to_string(found.payloads.count) + " payloads."};
    return found;
}

Event event_at(const ManyArguments &from, int i, Form form, const Topic &topic,
               const Lanes &known) {
    Event event;
    event.form = form;
    if (from.payloads.has(i))
        set_payload(event, form, from.payloads.value[i], topic);
    if (from.keys.has(i))
        set_key(event, KeyForm::text, from.keys.value[i]);
    if (from.headers.has(i))
        set_headers(event, from.headers.value[i]);
    add_session_headers(event);
    finish(event, topic, known);
    return event;
}

// Emptied after each batch, and gone with the call's own context if an ERROR comes in between.
MemoryContext batch_context() {
    return pg::call([] {
        return AllocSetContextCreate(CurrentMemoryContext, "once.publish_many",
                                     ALLOCSET_DEFAULT_SIZES);
    });
}

Datum publish_many(FunctionCallInfo fcinfo, Form form) {
    check_writable("once.publish_many()");
    const Topic topic = check_topic(lanes(), PG_ARGISNULL(0), PG_GETARG_DATUM(0));
    const ManyArguments from = many_arguments(fcinfo, form);
    const MemoryContext batch = batch_context();
    std::vector<Event> events;
    for (int i = 0; i < from.payloads.count;) {
        events.clear();
        pg::MemoryScope scope(batch);
        for (size_t bytes = 0;
             i < from.payloads.count && events.size() < kBatchEvents && bytes < kBatchBytes; ++i) {
            events.push_back(event_at(from, i, form, topic, lanes()));
            bytes += events.back().bytes;
            if (topic.max_backlog > 0)
                check_backlog(events.back().lane, topic.max_backlog);
        }
        append_many(events);
        pg::call([&] { MemoryContextReset(batch); });
        pg::call([] { CHECK_FOR_INTERRUPTS(); });
    }
    pg::call([&] { MemoryContextDelete(batch); });
    return Int64GetDatum(from.payloads.count);
}

} // namespace
} // namespace once

extern "C" {

#define ONCE_PUBLISH(symbol, form, key_form)                                                       \
    PG_FUNCTION_INFO_V1(symbol);                                                                   \
    PGDLLEXPORT Datum symbol(PG_FUNCTION_ARGS) {                                                   \
        return pg::entry([&]() -> Datum {                                                          \
            return once::publish(fcinfo, once::plain_places<once::Form::form>(),                   \
                                 once::KeyForm::key_form);                                         \
        });                                                                                        \
    }

ONCE_PUBLISH(once_publish_json_key_text, json, text)
ONCE_PUBLISH(once_publish_json_key_number, json, number)
ONCE_PUBLISH(once_publish_json_key_uuid, json, uuid)
ONCE_PUBLISH(once_publish_json_key_bytes, json, bytes)
ONCE_PUBLISH(once_publish_text_key_text, text, text)
ONCE_PUBLISH(once_publish_text_key_number, text, number)
ONCE_PUBLISH(once_publish_text_key_uuid, text, uuid)
ONCE_PUBLISH(once_publish_text_key_bytes, text, bytes)
ONCE_PUBLISH(once_publish_bytes_key_text, bytes, text)
ONCE_PUBLISH(once_publish_bytes_key_number, bytes, number)
ONCE_PUBLISH(once_publish_bytes_key_uuid, bytes, uuid)
ONCE_PUBLISH(once_publish_bytes_key_bytes, bytes, bytes)

PG_FUNCTION_INFO_V1(once_publish_event);
PGDLLEXPORT Datum once_publish_event(PG_FUNCTION_ARGS) {
    return pg::entry(
        [&]() -> Datum { return once::publish(fcinfo, once::kNamedPlaces, once::KeyForm::text); });
}

#define ONCE_PUBLISH_ARRAY(symbol, form)                                                           \
    PG_FUNCTION_INFO_V1(symbol);                                                                   \
    PGDLLEXPORT Datum symbol(PG_FUNCTION_ARGS) {                                                   \
        return pg::entry([&]() -> Datum { return once::publish_many(fcinfo, once::Form::form); }); \
    }

ONCE_PUBLISH_ARRAY(once_publish_array_json, json)
ONCE_PUBLISH_ARRAY(once_publish_array_text, text)
ONCE_PUBLISH_ARRAY(once_publish_array_bytes, bytes)

} // extern "C"
