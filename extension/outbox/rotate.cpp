// once.rotate_lane: all numbers up to the end of the generation are drawn, among publishers who
// draw theirs.
#include "errors.hpp"
#include "outbox/lanes.hpp"
#include "pg/row.hpp"
#include "storage/sequence.hpp"
#include "wire/lane_map.hpp"

extern "C" {
#include <access/relation.h>
#include <storage/bufmgr.h>
#include <utils/rel.h>
}

namespace once {
namespace {

bool is_empty(Oid table) {
    Relation relation = relation_open(table, AccessShareLock);
    const bool empty = RelationGetNumberOfBlocks(relation) == 0;
    relation_close(relation, AccessShareLock);
    return empty;
}

// The child that gets the number is worth leaving: it has rows, and the next one has none of an
// older generation.
bool worth_it(Lanes &known, int lane, int64_t next) {
    const int64_t rows = known.lane[static_cast<size_t>(lane)].generation_rows;
    const Oid here = child_for(known, lane, next).table,
              there = child_for(known, lane, next + rows).table;
    return pg::call([&] { return !is_empty(here) && is_empty(there); });
}

// All at once: a generation may have a hundred million numbers.
Drawn leave(Oid sequence, int64_t last) {
    Relation relation = relation_open(sequence, RowExclusiveLock);
    const Drawn drawn = draw_up_to(relation, last);
    relation_close(relation, NoLock);
    return drawn;
}

} // namespace
} // namespace once

extern "C" {

// (lane int) → (drawn_from bigint, drawn_to bigint): the range the drawn numbers lie in; nulls when
// there was no need.
PG_FUNCTION_INFO_V1(once_rotate_lane);
PGDLLEXPORT Datum once_rotate_lane(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        pg::call([] { PreventCommandIfReadOnly("once.rotate()"); });
        once::Lanes &known = once::lanes();
        const int number = PG_GETARG_INT32(0);
        const once::Lane &lane = once::lane_at(known, PG_ARGISNULL(0), number);
        const Oid sequence = lane.sequence;
        const int64_t from = pg::call([&] { return once::last_drawn(sequence); });
        const int64_t last = ((from + 1) / lane.generation_rows + 1) * lane.generation_rows - 1;
        Datum values[] = {0, 0};
        bool nulls[] = {true, true};
        if (once::worth_it(known, number, from + 1)) {
            const once::Drawn drawn = pg::call([&] { return once::leave(sequence, last); });
            values[0] = Int64GetDatum(drawn.before);
            values[1] = Int64GetDatum(drawn.after);
            nulls[0] = nulls[1] = false;
        }
        static constexpr pg::Column kColumns[] = {{"drawn_from", INT8OID}, {"drawn_to", INT8OID}};
        return pg::row(fcinfo, kColumns, values, nulls);
    });
}

} // extern "C"
