// once.publish(…, deliver_at) and once.deliver_due, which moves what is due into the event tables,
// with the ids it was given, in the transaction that takes it out of once.scheduled: committed
// together, or not at all.
#include "outbox/scheduled.hpp"

#include "outbox/append.hpp"
#include "arguments.hpp"
#include "storage/advisory_lock.hpp"
#include "pg/memory.hpp"
#include "pg/owner.hpp"
#include "pg/spi.hpp"

extern "C" {
#include <storage/lock.h>
#include <utils/timestamp.h>
#include <utils/uuid.h>
}

#include <limits>
#include <vector>

namespace once {

void schedule(const Event &event, TimestampTz deliver_at) {
    static pg::Plan plan(
        "INSERT INTO once.scheduled (id, deliver_at, topic, key, payload, "
        "headers, partition, form, scheduled_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, pg_catalog.clock_timestamp())",
        {UUIDOID, TIMESTAMPTZOID, TEXTOID, BYTEAOID, BYTEAOID, BYTEAOID, INT4OID, CHAROID});
    if (TIMESTAMP_NOT_FINITE(deliver_at))
        throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "deliver_at must not be infinity"};
    const pg::OwnerScope owner(pg::relation_oid("once", "scheduled"));
    const pg::Spi spi;
    const Datum values[] = {PointerGetDatum(event.id),
                            TimestampTzGetDatum(deliver_at),
                            event.topic,
                            event.key,
                            event.payload,
                            event.headers,
                            Int32GetDatum(event.partition),
                            CharGetDatum(static_cast<char>(event.form))};
    const char nulls[] = {' ',
                          ' ',
                          ' ',
                          event.has_key ? ' ' : 'n',
                          event.has_payload ? ' ' : 'n',
                          event.has_headers ? ' ' : 'n',
                          event.has_partition ? ' ' : 'n',
                          ' ',
                          '\0'};
    plan.execute(values, nulls);
}

namespace {

// A column of row `i`, copied out of SPI's memory; false: null.
bool column(uint64_t i, int number, bool by_value, Datum &value) {
    bool null;
    const Datum found = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, number, &null);
    if (!null)
        value = by_value ? found : pg::varlena_of(pg::bytes_of(found));
    return !null;
}

// It was checked when it was published: limits and declarations that changed since do not hold it
// up.
Event event_of(uint64_t i) {
    Event event;
    Datum id = 0, partition = 0, form = 0;
    bool null;
    id = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &null);
    event.id = DatumGetUUIDP(id)->data;
    Topic topic;
    column(i, 2, false, topic.datum);
    topic.name = pg::bytes_of(topic.datum);
    topic.max_bytes = std::numeric_limits<int>::max();
    event.has_key = column(i, 3, false, event.key);
    event.has_payload = column(i, 4, false, event.payload);
    event.has_headers = column(i, 5, false, event.headers);
    event.has_partition = column(i, 6, true, partition);
    event.partition = DatumGetInt32(partition);
    if (column(i, 7, true, form))
        event.form = static_cast<Form>(DatumGetChar(form));
    finish(event, topic, lanes());
    return event;
}

// One mover at a time: two would split a key's events between two transactions, in either order.
bool only_mover() {
    const LOCKTAG tag = lock_tag(LockSpace::deliver, "");
    return pg::call([&] { return LockAcquire(&tag, ExclusiveLock, false, true); }) !=
           LOCKACQUIRE_NOT_AVAIL;
}

// The sizes are known without fetching what is stored out of line. The first goes out whatever its
// size.
int deliver_due(int max_events, int max_bytes) {
    static pg::Plan plan(
        "WITH due AS (SELECT id, deliver_at, scheduled_at, "
        "coalesce(pg_catalog.octet_length(payload), 0) OPERATOR(pg_catalog.+) "
        "coalesce(pg_catalog.octet_length(headers), 0) AS size "
        "FROM once.scheduled WHERE deliver_at OPERATOR(pg_catalog.<=) $1 "
        "ORDER BY deliver_at, scheduled_at, id FOR UPDATE SKIP LOCKED LIMIT $2), "
        "summed AS (SELECT id, pg_catalog.sum(size) OVER (ORDER BY deliver_at, scheduled_at, id) "
        "OPERATOR(pg_catalog.-) size AS before FROM due), "
        "taken AS (DELETE FROM once.scheduled WHERE id OPERATOR(pg_catalog.=) ANY (ARRAY("
        "SELECT id FROM summed WHERE before OPERATOR(pg_catalog.<) $3)) RETURNING *) "
        "SELECT id, topic, key, payload, headers, partition, form FROM taken "
        "ORDER BY deliver_at, scheduled_at, id",
        {TIMESTAMPTZOID, INT8OID, INT8OID});
    if (!only_mover())
        return 0;
    const pg::Spi spi;
    const Datum values[] = {TimestampTzGetDatum(GetCurrentTimestamp()), Int64GetDatum(max_events),
                            Int64GetDatum(max_bytes)};
    plan.execute(values);
    std::vector<Event> events;
    for (uint64_t i = 0; i < SPI_processed; ++i)
        events.push_back(event_of(i));
    append_many(events);
    return static_cast<int>(events.size());
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_deliver_due);
PGDLLEXPORT Datum once_deliver_due(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        once::check_writable("once.deliver_due()");
        for (const auto &[index, name] : {std::pair{0, "max_events"}, {1, "max_bytes"}})
            if (PG_ARGISNULL(index) || PG_GETARG_INT32(index) < 1)
                throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE,
                                  std::string(name) + " must be at least 1"};
        PG_RETURN_INT32(once::deliver_due(PG_GETARG_INT32(0), PG_GETARG_INT32(1)));
    });
}

} // extern "C"
