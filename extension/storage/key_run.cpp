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

int compare(Datum a, Datum b) {
    return memcmp(DatumGetUUIDP(a)->data, DatumGetUUIDP(b)->data, UUID_LEN);
}

// To the owner's next entry, whatever its row: dead ones stop the walk too, and do no harm.
void step(KeyWalk &walk) {
    walk.ended = !index_getnext_tid(walk.scan, ForwardScanDirection);
    bool isnull;
    if (!walk.ended)
        walk.next = index_getattr(walk.scan->xs_itup, 2, walk.scan->xs_itupdesc, &isnull);
}

void jump(KeyWalk &walk, Datum id) {
    walk.from[1].sk_argument = id;
    index_rescan(walk.scan, walk.from, 2, nullptr, 0);
    step(walk);
}

bool has_entry(KeyWalk &walk, Datum id) {
    walk.at[1].sk_argument = id;
    index_rescan(walk.scan, walk.at, 2, nullptr, 0);
    return index_getnext_tid(walk.scan, ForwardScanDirection) != nullptr;
}

} // namespace

void begin_walk(KeyWalk &walk, const KeyedTable &table, int64 owner, Snapshot snapshot) {
    walk = KeyWalk{};
    walk.scan = pg::begin_index_scan(table.heap, table.index, snapshot, 2);
    walk.scan->xs_want_itup = true; // the entry itself: no row is looked at
    for (ScanKeyData *keys : {walk.from, walk.at})
        ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(owner));
    ScanKeyInit(&walk.from[1], 2, BTGreaterEqualStrategyNumber, F_UUID_GE, 0);
    ScanKeyInit(&walk.at[1], 2, BTEqualStrategyNumber, F_UUID_EQ, 0);
}

bool absent(KeyWalk &walk, Datum id) {
    if (walk.misses >= kMostMisses)
        return !has_entry(walk, id);
    if (!walk.begun)
        jump(walk, id);
    walk.begun = true;
    for (int steps = 0; !walk.ended; ++steps) {
        const int order = compare(walk.next, id);
        if (order >= 0)
            return order > 0;
        if (steps < kMostSteps) {
            step(walk);
        } else {
            ++walk.misses;
            jump(walk, id);
        }
    }
    return true;
}

void end_walk(KeyWalk &walk) {
    index_endscan(walk.scan);
}

void begin_run(KeyRun &run, KeyedTable &table, int64 owner) {
    run = {&table, owner, row_slots(table.heap, kMostInRun), 0};
}

bool add(KeyRun &run, Datum id) {
    const Datum row[] = {Int64GetDatum(run.owner), id};
    pg::store_row(slot_of(run.rows, run.count++), run.table->columns, row, nullptr);
    return run.count == kMostInRun;
}

void write(KeyRun &run) {
    if (run.count == 0)
        return;
    const KeyedTable &table = *run.table;
    TupleTableSlot **slots = run.rows.slots;
    table_multi_insert(table.heap, slots, run.count, GetCurrentCommandId(true), 0, nullptr);
    for (int i = 0; i < run.count; ++i) {
        Datum key[2];
        bool null[2] = {false, false};
        for (int k = 0; k < 2; ++k)
            key[k] = slots[i]->tts_values[table.columns.number[k] - 1];
        index_insert(table.index, key, null, &slots[i]->tts_tid, table.heap, UNIQUE_CHECK_YES,
                     false, table.info);
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
