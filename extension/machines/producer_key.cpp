// once.key_next, key_block, key_next_ordered: numbers from one sequence, so all keys of a database
// differ and each producer's rise. A block is drawn by nextval and setval together; the draw lock,
// held for that moment and not until the transaction ends, keeps others from drawing in between.
#include "arguments.hpp"
#include "storage/advisory_lock.hpp"
#include "pg/compat.hpp"
#include "pg/owner.hpp"

extern "C" {
#include <commands/sequence.h>
#include <tcop/utility.h>
#include <utils/fmgrprotos.h>
}

namespace once {
namespace {

// First of `count` successive numbers that nobody else gets.
int64 draw(int count) {
    const Oid sequence = pg::relation_oid("once", "key_seq");
    const LOCKTAG tag = lock_tag(LockSpace::key_draw, "");
    const pg::OwnerScope owner(sequence);
    return pg::call([&] {
        LockAcquire(&tag, ExclusiveLock, false, false);
        const int64 first = nextval_internal(sequence, false);
        if (count > 1)
            DirectFunctionCall2(setval_oid, ObjectIdGetDatum(sequence),
                                Int64GetDatum(first + count - 1));
        LockRelease(&tag, ExclusiveLock, false);
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
        const LOCKTAG tag = once::lock_tag(once::LockSpace::key_order, producer);
        pg::call([&] {
            PreventCommandIfReadOnly("once.key_next_ordered()");
            return LockAcquire(&tag, ExclusiveLock, false, false);
        });
        PG_RETURN_INT64(once::draw(1));
    });
}

} // extern "C"
