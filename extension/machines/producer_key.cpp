// once.key_next, key_block, key_next_ordered: numbers from one sequence, so all keys of a database
// differ and each producer's rise.
#include "arguments.hpp"
#include "storage/advisory_lock.hpp"
#include "pg/compat.hpp"
#include "pg/owner.hpp"
#include "storage/sequence.hpp"

extern "C" {
#include <access/relation.h>
}

namespace once {
namespace {

// First of `count` successive numbers that nobody else gets.
int64 draw(int count) {
    check_writable("once.key_next()");
    const Oid sequence = pg::relation_oid("once", "key_seq");
    return pg::call([&] {
        Relation relation = relation_open(sequence, RowExclusiveLock);
        const int64 first = draw_numbers(relation, count);
        relation_close(relation, NoLock);
        return first;
    });
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_key_next);
PGDLLEXPORT Datum once_key_next(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        once::name_argument(fcinfo, 0, "producer");
        PG_RETURN_INT64(once::draw(1));
    });
}

PG_FUNCTION_INFO_V1(once_key_block);
PGDLLEXPORT Datum once_key_block(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        once::name_argument(fcinfo, 0, "producer");
        once::require_argument(fcinfo, 1, "n");
        const int count = PG_GETARG_INT32(1);
        if (count < 1)
            throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "n must be at least 1"};
        const int64 first = once::draw(count);
        return pg::call([&] {
            RangeBound lower{Int64GetDatum(first), false, true, true};
            RangeBound upper{Int64GetDatum(first + count), false, false, false};
            TypeCacheEntry *type = lookup_type_cache(INT8RANGEOID, TYPECACHE_RANGE_INFO);
            return RangeTypePGetDatum(pg::range_of(type, &lower, &upper));
        });
    });
}

// The producer is held until the transaction ends, and locks are released after its commit became
// visible: who then draws a greater key commits later.
PG_FUNCTION_INFO_V1(once_key_next_ordered);
PGDLLEXPORT Datum once_key_next_ordered(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const auto producer = once::name_argument(fcinfo, 0, "producer");
        once::check_writable("once.key_next_ordered()");
        const LOCKTAG tag = once::lock_tag(once::LockSpace::key_order, producer);
        pg::call([&] { return LockAcquire(&tag, ExclusiveLock, false, false); });
        PG_RETURN_INT64(once::draw(1));
    });
}

} // extern "C"
