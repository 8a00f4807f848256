// What the executor would see to when a row is written, for those who write past it.
#pragma once

#include "pg/prelude.hpp"

extern "C" {
#include <executor/tuptable.h>
#include <utils/rel.h>
}

namespace once {

// ERROR 55000 where the table has triggers: they would not fire, and whoever follows the table by
// them (pg_repack) would miss the row. Server world, as below; the table is locked for writing.
void refuse_triggers(Relation table);

// A table of ours has one index, its primary key, but for the time of a REINDEX CONCURRENTLY: the
// new one is built beside it and takes for granted that it gets every row written meanwhile. Left
// out, a key would not be found afterwards: once more `new`.
[[nodiscard]] bool has_further_indexes(Relation table);
// The row's entries in all indexes but `primary_key`. A cold path: opens and closes everything.
void add_to_further_indexes(Relation table, Oid primary_key, TupleTableSlot *row);

} // namespace once
