#include "outbox/dedup_key.hpp"

#include "digest/message_id.hpp"
#include "pg/memory.hpp"
#include "storage/keyed_table.hpp"
#include "storage/ring.hpp"

extern "C" {
#include <access/heapam.h>
#include <utils/snapmgr.h>
}

#include <cstring>

namespace once {
namespace {

constexpr pg::Column kColumns[] = {{"owner", INT8OID}, {"id", UUIDOID}, {"event", UUIDOID}};
const RowShape kShape{kColumns, 2};

// Server world, trivially destructible.
struct Row {
    int64 owner;
    pg_uuid_t id;
    pg_uuid_t event;
};

// Whether the table has the key; `event` is then the one that it stands for.
bool look(Oid heap, const Row &row, Snapshot snapshot, pg_uuid_t *event) {
    if (has_no_rows(heap))
        return false;
    KeyedTable table;
    open_for_lookup(table, heap, kShape, snapshot);
    const Datum key[] = {Int64GetDatum(row.owner), UUIDPGetDatum(&row.id)};
    const bool found = find(table, key);
    if (found)
        *event = *DatumGetUUIDP(value_of(table, 2));
    close(table);
    return found;
}

// Writes the key. False: it is there, committed or by this transaction, and stands for `event`.
bool write(Oid heap, const Row &row, Snapshot snapshot, pg_uuid_t *event, ItemPointer at) {
    KeyedTable table;
    open_for_insert(table, heap, kShape);
    const Datum values[] = {Int64GetDatum(row.owner), UUIDPGetDatum(&row.id),
                            UUIDPGetDatum(&row.event)};
    const bool written = insert(table, values, snapshot) == Insertion::done;
    if (written)
        *at = table.fresh->tts_tid;
    close(table);
    if (!written && !look(heap, row, SnapshotSelf, event))
        ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                        errmsg("dedup key vanished while it was looked up"),
                        errhint("Run the transaction again.")));
    return written;
}

void take_back(Oid heap, ItemPointer at) {
    const Relation table = table_open(heap, RowExclusiveLock);
    CommandCounterIncrement(); // it was written by the running command
    simple_heap_delete(table, at);
    table_close(table, NoLock);
}

// As once.accept decides, but with an answer: what stands in the closing generation must tell the
// same story as the open one.
pg_uuid_t claim(const Row &row, Snapshot snapshot) {
    const RingState ring = ring_state(Ring::publish_key, snapshot);
    pg_uuid_t event;
    for (int64 serial = ring.open; serial > ring.open - kRingSlots; --serial)
        if (ring.looked_into(serial) &&
            look(ring_table(Ring::publish_key, serial), row, snapshot, &event))
            return event;
    ItemPointerData in_closing, in_open;
    const Oid closing = ring.closing ? ring_table(Ring::publish_key, ring.open - 1) : InvalidOid;
    if (OidIsValid(closing) && !write(closing, row, snapshot, &event, &in_closing))
        return event;
    if (write(ring_table(Ring::publish_key, ring.open), row, snapshot, &event, &in_open))
        return row.event;
    if (OidIsValid(closing))
        take_back(closing, &in_closing);
    return event;
}

} // namespace

EventId claim_publish_key(Datum topic, std::string_view key, const EventId &mine) {
    Row row;
    row.owner = owner_of("topic", pg::bytes_of(topic));
    row.id = message_id(IdType::text, pg::varlena_of(key)).key;
    std::memcpy(row.event.data, mine.data(), mine.size());
    const pg_uuid_t event = pg::call([&] { return claim(row, GetActiveSnapshot()); });
    EventId result;
    std::memcpy(result.data(), event.data, result.size());
    return result;
}

} // namespace once
