// A table with a primary key, read and written without the executor. A RowShape says which columns
// we know of it, the primary key's first; rows and keys are arrays in that order.
//
// insert() does what INSERT … ON CONFLICT DO NOTHING does, with a verdict: a key that is there
// takes no xid and writes nothing; one that another transaction is just writing is waited for.
// lock() and update() do what SELECT … FOR NO KEY UPDATE and UPDATE do. Under REPEATABLE READ and
// above they raise 40001 where those would. Server world: everything may ERROR, so callers stand
// inside pg::call.
#pragma once

#include "pg/columns.hpp"
#include "storage/known_table.hpp"

extern "C" {
#include <access/genam.h>
#include <access/relscan.h>
#include <access/skey.h>
#include <executor/tuptable.h>
#include <nodes/execnodes.h>
#include <utils/rel.h>
#include <utils/snapshot.h>
}

namespace once {

struct RowShape {
    std::span<const pg::Column> columns;
    int keys; // the first ones
};

// Trivially destructible on purpose: an ERROR skips destructors, the resource owner releases what
// is open.
struct KeyedTable {
    static constexpr int kMostKeys = 3; // columns of a primary key

    Relation heap;
    Relation index;
    LOCKMODE release; // taken off by close(); NoLock: stays until the transaction ends
    IndexScanDesc scan;
    TupleTableSlot *found; // the row that was looked up, met or locked
    TupleTableSlot *fresh; // for writing only
    IndexInfo *info;       // for writing only
    bool more_indexes;     // for writing only: the primary key is not alone
    SnapshotData dirty;    // for inserting only: sees what others have not committed yet
    pg::ColumnMap columns;
    int key_count;
    ScanKeyData keys[kMostKeys];
};

// For looking up rows under `snapshot`; the table may be locked for writing besides.
void open_for_lookup(KeyedTable &table, Oid heap, const RowShape &shape, Snapshot snapshot);
// `key` has a value for each column of the primary key. The row is in table.found.
[[nodiscard]] bool find(KeyedTable &table, const Datum *key);
// The same for a row that this session has seen or changed before: first where it was then.
[[nodiscard]] bool find_again(KeyedTable &table, const Datum *key);

// For insert(). RowExclusiveLock, as for any INSERT, until the transaction ends.
void open_for_insert(KeyedTable &table, Oid heap, const RowShape &shape);
enum class Insertion { done, present };
// `row` has a value for each column of the shape, none null unless `nulls` says so.
[[nodiscard]] Insertion insert(KeyedTable &table, const Datum *row, Snapshot snapshot,
                               const bool *nulls = nullptr);
// The transaction that is just writing the row with this key; InvalidTransactionId: nobody.
[[nodiscard]] TransactionId writer_of(KeyedTable &table, const Datum *key);

// For lock() and update() of rows that are there.
void open_for_update(KeyedTable &table, Oid heap, const RowShape &shape, Snapshot snapshot);
// Locks the newest version of the row, which is then in table.found; waits for who has it. False:
// no such row.
[[nodiscard]] bool lock(KeyedTable &table, const Datum *key, Snapshot snapshot);
// Replaces the locked row; ends the command, so that a fresh snapshot sees it.
void update(KeyedTable &table, const Datum *row, Snapshot snapshot, const bool *nulls = nullptr);

// A column of the found row, by its place in the shape, from 0. XX001 for a null nobody asks for.
[[nodiscard]] Datum value_of(KeyedTable &table, int column, bool *isnull = nullptr);

void close(KeyedTable &table);

} // namespace once
