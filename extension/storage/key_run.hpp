// Many ids of one owner in ascending order: looked for by walking along the index, and written all
// at once. For tables with the primary key (owner int8, id uuid) and no other column. Server world,
// trivially destructible, like keyed_table.
#pragma once

#include "storage/keyed_table.hpp"
#include "storage/row_slots.hpp"

namespace once {

// The columns of such a table.
constexpr pg::Column kOwnedIdColumns[] = {{"owner", INT8OID}, {"id", UUIDOID}};
inline const RowShape kOwnedIds{kOwnedIdColumns, 2};

struct KeyWalk {
    IndexScanDesc scan;
    ScanKeyData from[2]; // the owner, at or above an id
    ScanKeyData at[2];   // the owner, this id
    bool begun;
    bool ended;
    Datum next; // the entry that the walk stands at
    int misses; // how often it fell behind
};

void begin_walk(KeyWalk &walk, const KeyedTable &table, int64 owner, Snapshot snapshot);
// False: the index has an entry of this id; whether it counts the caller must see. Ids are asked
// for in ascending order. What others write after we passed is not seen: unique checks are for
// that.
[[nodiscard]] bool absent(KeyWalk &walk, Datum id);
void end_walk(KeyWalk &walk);

// Keys that are to be written together.
struct KeyRun {
    KeyedTable *table;
    int64 owner;
    RowSlots rows;
    int count;
};

void begin_run(KeyRun &run, KeyedTable &table, int64 owner);
// True: the run is full and must be written before the next key.
[[nodiscard]] bool add(KeyRun &run, Datum id);
// Writes them in their order, waiting where another transaction is just writing the same key.
// ERROR 23505 where one came in since it was absent: for a subtransaction.
void write(KeyRun &run);
void end_run(KeyRun &run);

} // namespace once
