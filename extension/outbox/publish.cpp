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

#include <vector>

extern "C" {
#include <catalog/pg_type.h>
#include <utils/timestamp.h>
}

namespace once {
namespace {

// Arguments of publish, from 0.
enum Argument { kTopic, kPayload, kKey, kHeaders, kPartition, kDedupKey, kDeliverAt };

// Events of one call that are written together: bounds the memory of a call with a million of them.
constexpr size_t kBatchEvents = 1000;
constexpr size_t kBatchBytes = 4 * 1024 * 1024;

// The id has to be known before the event is written: its dedup key is stored with it, or it waits
// in once.scheduled. A key that stands already answers with the first event's id, and nothing is
// written.
Datum publish_by_id(FunctionCallInfo fcinfo, const Topic &topic, Event &event) {
    EventId id;
    new_id(GetCurrentTimestamp(), id.data());
    if (!PG_ARGISNULL(kDedupKey)) {
        const EventId first =
            claim_publish_key(topic.datum, name_argument(fcinfo, kDedupKey, "dedup_key"), id);
        if (first != id)
            return pg::uuid_of(first);
    }
    event.id = id.data();
    const TimestampTz due =
        PG_ARGISNULL(kDeliverAt) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(kDeliverAt);
    if (due > GetCurrentTimestamp())
        schedule(event, due);
    else
        (void)append(event);
    return pg::uuid_of(id);
}

Datum publish(FunctionCallInfo fcinfo, Form form) {
    check_writable("once.publish()");
    const Lanes &known = lanes();
    const Topic topic = check_topic(known, PG_ARGISNULL(kTopic), PG_GETARG_DATUM(kTopic));
    Event event;
    if (!PG_ARGISNULL(kPayload))
        set_payload(event, form, PG_GETARG_DATUM(kPayload), topic);
    if (!PG_ARGISNULL(kKey))
        set_key(event, PG_GETARG_DATUM(kKey));
    if (!PG_ARGISNULL(kHeaders))
        set_headers(event, PG_GETARG_DATUM(kHeaders));
    if (!PG_ARGISNULL(kPartition))
        set_partition(event, PG_GETARG_INT32(kPartition));
    finish(event, topic, known);
    if (topic.max_backlog > 0)
        check_backlog(event.lane, topic.max_backlog);
    if (!PG_ARGISNULL(kDedupKey) || !PG_ARGISNULL(kDeliverAt))
        return publish_by_id(fcinfo, topic, event);
    return pg::uuid_of(append(event).id);
}

struct ManyArguments {
    pg::Elements keys, payloads, headers;
};

Oid element_of(Form form) {
    return form == Form::json ? JSONBOID : form == Form::text ? TEXTOID : BYTEAOID;
}

ManyArguments many_arguments(FunctionCallInfo fcinfo, Form form) {
    if (PG_ARGISNULL(2))
        throw pg::Failure{ERRCODE_NULL_VALUE_NOT_ALLOWED, "payloads must not be null",
                          "An element may be: it is a tombstone."};
    const ManyArguments found = {pg::elements_of(fcinfo, 1, "keys", TEXTOID),
                                 pg::elements_of(fcinfo, 2, "payloads", element_of(form)),
                                 pg::elements_of(fcinfo, 3, "headers", JSONBOID)};
    const auto differs = [&](const pg::Elements &other, int argument) {
        return !PG_ARGISNULL(argument) && other.count != found.payloads.count;
    };
    if (differs(found.keys, 1) || differs(found.headers, 3))
        throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "arrays of different length",
                          "There are " + std::to_string(found.payloads.count) + " payloads."};
    return found;
}

Event event_at(const ManyArguments &from, int i, Form form, const Topic &topic,
               const Lanes &known) {
    Event event;
    if (from.payloads.has(i))
        set_payload(event, form, from.payloads.value[i], topic);
    if (from.keys.has(i))
        set_key(event, from.keys.value[i]);
    if (from.headers.has(i))
        set_headers(event, from.headers.value[i]);
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

PG_FUNCTION_INFO_V1(once_publish_jsonb);
PGDLLEXPORT Datum once_publish_jsonb(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::publish(fcinfo, once::Form::json); });
}

PG_FUNCTION_INFO_V1(once_publish_text);
PGDLLEXPORT Datum once_publish_text(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::publish(fcinfo, once::Form::text); });
}

PG_FUNCTION_INFO_V1(once_publish_bytea);
PGDLLEXPORT Datum once_publish_bytea(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::publish(fcinfo, once::Form::bytes); });
}

PG_FUNCTION_INFO_V1(once_publish_many_jsonb);
PGDLLEXPORT Datum once_publish_many_jsonb(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::publish_many(fcinfo, once::Form::json); });
}

PG_FUNCTION_INFO_V1(once_publish_many_text);
PGDLLEXPORT Datum once_publish_many_text(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::publish_many(fcinfo, once::Form::text); });
}

PG_FUNCTION_INFO_V1(once_publish_many_bytea);
PGDLLEXPORT Datum once_publish_many_bytea(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::publish_many(fcinfo, once::Form::bytes); });
}

} // extern "C"
