// Many keys of one table in ascending order: looked for by walking along its index, and written all
// at once. For tables whose only column is the key, a number or a uuid. Server world, trivially
// destructible, like keyed_table.
#pragma once

#include "storage/keyed_table.hpp"
#include "storage/row_slots.hpp"

namespace once {

struct KeyWalk {
    IndexScanDesc scan;
    ScanKeyData from; // at or above a key
    ScanKeyData at;   // this key
    bool number;      // else uuid
    bool begun;
    bool ended;
    Datum next; // the entry that the walk stands at
    int misses; // how often it fell behind
};

void begin_walk(KeyWalk &walk, const KeyedTable &table, Snapshot snapshot);
// False: the index has an entry of this key; whether it counts the caller must see. Keys are asked
// for in ascending order. What others write after we passed is not seen: unique checks are for
// that.
[[nodiscard]] bool absent(KeyWalk &walk, Datum key);
void end_walk(KeyWalk &walk);

// Keys that are to be written together.
struct KeyRun {
    KeyedTable *table;
    RowSlots rows;
    int count;
};

void begin_run(KeyRun &run, KeyedTable &table);
void add(KeyRun &run, Datum key);
// Writes them in their order, waiting where another transaction is just writing the same key.
// ERROR 23505 where one came in since it was absent: for a subtransaction.
void write(KeyRun &run);
void end_run(KeyRun &run);

} // namespace once
