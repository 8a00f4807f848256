// The lock that decides who works on a lane. Advisory, but of a class of its own: whoever may
// connect may call pg_advisory_lock, and with a class that it reaches any role could keep every
// relay from its lane for ever. This one is taken through functions that only relays may call.
#include "pg/boundary.hpp"
#include "storage/advisory_lock.hpp"

namespace once {
namespace {

constexpr uint32 kLaneSpace = 1869505381; // "once" in ASCII, seen in pg_locks.classid

LOCKTAG lane_tag(int32 lane) {
    return lock_tag(LockClass::lanes, kLaneSpace, static_cast<uint32>(lane));
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
