// Slots for rows that are written together. They share a copy of the table's description: the
// relation's own is counted, and counting it for each of many slots costs more than writing the
// rows. Server world, trivially destructible.
#pragma once

#include "pg/prelude.hpp"

extern "C" {
#include <access/tupdesc.h>
#include <executor/tuptable.h>
#include <utils/rel.h>
}

namespace once {

struct RowSlots {
    TupleDesc columns;
    TupleTableSlot **slots;
    int made;
};

inline RowSlots row_slots(Relation table, int most) {
    return {
        CreateTupleDescCopy(RelationGetDescr(table)),
        static_cast<TupleTableSlot **>(palloc(sizeof(TupleTableSlot *) * static_cast<Size>(most))),
        0};
}

// The slot with this number, empty. Numbers rise by one.
inline TupleTableSlot *slot_of(RowSlots &rows, int number) {
    if (number == rows.made)
        rows.slots[rows.made++] = MakeSingleTupleTableSlot(rows.columns, &TTSOpsVirtual);
    return ExecClearTuple(rows.slots[number]);
}

inline void drop(RowSlots &rows) {
    for (int i = 0; i < rows.made; ++i)
        ExecDropSingleTupleTableSlot(rows.slots[i]);
    pfree(rows.slots);
    FreeTupleDesc(rows.columns);
}

} // namespace once
