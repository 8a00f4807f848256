// One table of keys: a single column with a primary key, written by speculative insertion.
//
// It does what INSERT … ON CONFLICT DO NOTHING does, without the executor and with a verdict per key. A key that
// is there takes no xid and writes nothing; one that another transaction is just writing is waited for.
// Server world: everything may ERROR, so callers stand inside pg::call.
#pragma once

#include "pg/prelude.hpp"

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

// Trivially destructible on purpose: an ERROR skips destructors, the resource owner releases what is open.
struct KeyTable {
    Relation heap;
    Relation index;
    IndexScanDesc scan;
    TupleTableSlot *found;
    TupleTableSlot *fresh;    // for writing only
    IndexInfo *info;          // for writing only
    SnapshotData dirty;       // for writing only: sees what others have not committed yet
    ScanKeyData key;
};

// For looking up keys under `snapshot`. The lock goes when the table is closed: who truncates it has first
// waited for every snapshot that could lead here.
void open_for_lookup(KeyTable &table, Oid heap, Oid index, RegProcedure equal, Snapshot snapshot);
[[nodiscard]] bool contains(KeyTable &table, Datum key);

// For writing. RowExclusiveLock, as for any INSERT, until the transaction ends.
void open_for_insert(KeyTable &table, Oid heap, Oid index, RegProcedure equal);

enum class Insertion { done, present };
// Under REPEATABLE READ and above raises 40001 where the present key was committed after `snapshot`.
[[nodiscard]] Insertion insert(KeyTable &table, Datum key, Snapshot snapshot);

void close(KeyTable &table);

} // namespace once
