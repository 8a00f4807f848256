#include "storage/key_run.hpp"

#include "storage/direct_write.hpp"
#include "pg/compat.hpp"

extern "C" {
#include <access/itup.h>
#include <access/stratnum.h>
#include <access/tableam.h>
#include <utils/fmgroids.h>
#include <utils/uuid.h>
}

namespace once {
namespace {

// Entries that the walk passes to reach a key before it looks the key up from the root; and how
// often that may happen before the index is held to have too much between the keys.
constexpr int kMostSteps = 16;
constexpr int kMostMisses = 4;
constexpr int kMostInRun = 256; // a page of the table and more

int compare(const KeyWalk &walk, Datum a, Datum b) {
    if (!walk.number)
        return memcmp(DatumGetUUIDP(a)->data, DatumGetUUIDP(b)->data, UUID_LEN);
    const int64 left = DatumGetInt64(a), right = DatumGetInt64(b);
    return left < right ? -1 : left > right;
}

// To the next entry, whatever its row: dead ones stop the walk too, and do no harm.
void step(KeyWalk &walk) {
    walk.ended = !index_getnext_tid(walk.scan, ForwardScanDirection);
    bool isnull;
    if (!walk.ended)
        walk.next = index_getattr(walk.scan->xs_itup, 1, walk.scan->xs_itupdesc, &isnull);
}

void jump(KeyWalk &walk, Datum key) {
    walk.from.sk_argument = key;
    index_rescan(walk.scan, &walk.from, 1, nullptr, 0);
    step(walk);
}

bool has_entry(KeyWalk &walk, Datum key) {
    walk.at.sk_argument = key;
    index_rescan(walk.scan, &walk.at, 1, nullptr, 0);
    return index_getnext_tid(walk.scan, ForwardScanDirection) != nullptr;
}

} // namespace

void begin_walk(KeyWalk &walk, const KeyedTable &table, Snapshot snapshot) {
    walk = KeyWalk{};
    walk.number = TupleDescAttr(RelationGetDescr(table.index), 0)->atttypid == INT8OID;
    walk.scan = pg::begin_index_scan(table.heap, table.index, snapshot, 1);
    walk.scan->xs_want_itup = true; // the entry itself: no row is looked at
    ScanKeyInit(&walk.from, 1, BTGreaterEqualStrategyNumber, walk.number ? F_INT8GE : F_UUID_GE, 0);
    ScanKeyInit(&walk.at, 1, BTEqualStrategyNumber, walk.number ? F_INT8EQ : F_UUID_EQ, 0);
}

bool absent(KeyWalk &walk, Datum key) {
    if (walk.misses >= kMostMisses)
        return !has_entry(walk, key);
    if (!walk.begun)
        jump(walk, key);
    walk.begun = true;
    for (int steps = 0; !walk.ended; ++steps) {
        const int order = compare(walk, walk.next, key);
        if (order >= 0)
            return order > 0;
        if (steps < kMostSteps) {
            step(walk);
        } else {
            walk.misses++;
            jump(walk, key);
        }
    }
    return true;
}

void end_walk(KeyWalk &walk) {
    index_endscan(walk.scan);
}

void begin_run(KeyRun &run, KeyedTable &table) {
    run = {&table, row_slots(table.heap, kMostInRun), 0};
}

void add(KeyRun &run, Datum key) {
    TupleTableSlot *slot = slot_of(run.rows, run.count++);
    pg::store_row(slot, run.table->columns, &key, nullptr);
    if (run.count == kMostInRun)
        write(run);
}

void write(KeyRun &run) {
    if (run.count == 0)
        return;
    const KeyedTable &table = *run.table;
    TupleTableSlot **slots = run.rows.slots;
    table_multi_insert(table.heap, slots, run.count, GetCurrentCommandId(true), 0, nullptr);
    for (int i = 0; i < run.count; ++i) {
        bool null = false;
        index_insert(table.index, &slots[i]->tts_values[table.columns.number[0] - 1], &null,
                     &slots[i]->tts_tid, table.heap, UNIQUE_CHECK_YES, false, table.info);
        if (table.more_indexes)
            add_to_further_indexes(table.heap, {RelationGetRelid(table.index)}, slots[i]);
    }
    run.count = 0;
}

void end_run(KeyRun &run) {
    write(run);
    drop(run.rows);
}

} // namespace once
