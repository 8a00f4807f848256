// The lock that decides who works on a lane. Advisory, but of a class of its own: whoever may
// connect may call pg_advisory_lock, and with a class that it reaches any role could keep every
// relay from its lane for ever. This one is taken through functions that only relays may call.
#include "pg/boundary.hpp"

extern "C" {
#include <miscadmin.h>
#include <storage/lock.h>
}

namespace once {
namespace {

constexpr uint32 kLaneSpace = 1869505381; // "once" in ASCII, seen in pg_locks.classid
// pg_advisory_lock(bigint) uses 1 in the tag's fourth field, the form with two integers 2.
constexpr uint16 kLaneClass = 80;

LOCKTAG lane_tag(int32 lane) {
    LOCKTAG tag;
    SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, kLaneSpace, static_cast<uint32>(lane), kLaneClass);
    return tag;
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_lane_try);
PGDLLEXPORT Datum once_lane_try(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const LOCKTAG tag = once::lane_tag(PG_GETARG_INT32(0));
        const bool session = PG_GETARG_BOOL(1);
        PG_RETURN_BOOL(pg::call([&] { return LockAcquire(&tag, ExclusiveLock, session, true); }) !=
                       LOCKACQUIRE_NOT_AVAIL);
    });
}

PG_FUNCTION_INFO_V1(once_lane_unlock);
PGDLLEXPORT Datum once_lane_unlock(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const LOCKTAG tag = once::lane_tag(PG_GETARG_INT32(0));
        PG_RETURN_BOOL(pg::call([&] { return LockRelease(&tag, ExclusiveLock, true); }));
    });
}

} // extern "C"
