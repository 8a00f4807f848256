// What the executor would see to when a row is written, for those who write past it.
#pragma once

#include "pg/prelude.hpp"

#include <initializer_list>

extern "C" {
#include <executor/tuptable.h>
#include <utils/rel.h>
}

namespace once {

// ERROR 55000 where the table has triggers: they would not fire, and whoever follows the table by
// them (pg_repack) would miss the row. Server world, as below; the table is locked for writing.
void refuse_triggers(Relation table);

// A table of ours has the indexes it was made with, and one more of each for the time of a REINDEX
// CONCURRENTLY: the new one is built beside the old and takes for granted that it gets every row
// written meanwhile. Left out, a key would not be found afterwards: once more `new`, an event never
// shipped. `own`: how many it was made with. Of no use but under the table's lock.
[[nodiscard]] bool has_further_indexes(Relation table, int own);
// The row's entries in all indexes but those of `own`. A cold path: opens and closes everything.
void add_to_further_indexes(Relation table, std::initializer_list<Oid> own, TupleTableSlot *row);

} // namespace once
