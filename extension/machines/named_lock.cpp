// once.lock and once.try_lock: names locked until the transaction ends. 64 bits of a name's hash in
// a class of advisory locks of our own, so that an application's pg_advisory_lock never meets them.
// One call takes its names in the order of their hashes: two calls with the same names cannot
// deadlock, whatever order they give them in.
#include "arguments.hpp"
#include "pg/array.hpp"
#include "pg/compat.hpp"
#include "pg/value.hpp"
#include "storage/advisory_lock.hpp"

extern "C" {
#include <access/xlog.h>
#include <storage/lock.h>
#include <tcop/utility.h>
#include <utils/array.h>
#include <utils/lsyscache.h>
}

#include <algorithm>
#include <vector>

namespace once {

namespace {

// Enumerators are the labels of once.lock_verdict.
constexpr const char *kLocked = "locked", *kAlready = "already", *kBusy = "busy";

std::vector<LOCKTAG> tags_of(FunctionCallInfo fcinfo) {
    require_argument(fcinfo, 0, "names");
    const pg::Elements names = pg::elements_of(fcinfo, 0, "names", TEXTOID);
    if (names.count == 0)
        throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "at least one name is needed"};
    std::vector<LOCKTAG> tags;
    for (int i = 0; i < names.count; ++i) {
        if (names.null[i])
            throw pg::Failure{ERRCODE_NULL_VALUE_NOT_ALLOWED, "lock must not be null"};
        const auto name = pg::bytes_of(names.value[i]);
        check_name(name, "lock");
        tags.push_back(lock_tag(LockSpace::names, name));
    }
    const auto key = [](const LOCKTAG &tag) {
        return std::pair(tag.locktag_field2, tag.locktag_field3);
    };
    std::sort(tags.begin(), tags.end(), [&](auto &a, auto &b) { return key(a) < key(b); });
    tags.erase(
        std::unique(tags.begin(), tags.end(), [&](auto &a, auto &b) { return key(a) == key(b); }),
        tags.end());
    return tags;
}

// `busy` leaves nothing locked that was not before.
const char *take(const std::vector<LOCKTAG> &tags, bool wait) {
    std::vector<const LOCKTAG *> fresh;
    for (const LOCKTAG &tag : tags) {
        if (pg::call([&] { return pg::lock_held_by_me(&tag, ExclusiveLock); }))
            continue;
        const auto result =
            pg::call([&] { return LockAcquire(&tag, ExclusiveLock, false, !wait); });
        if (result == LOCKACQUIRE_NOT_AVAIL) {
            for (const LOCKTAG *taken : fresh)
                pg::call([&] { return LockRelease(taken, ExclusiveLock, false); });
            return kBusy;
        }
        fresh.push_back(&tag);
    }
    return fresh.empty() ? kAlready : kLocked;
}

Datum lock(FunctionCallInfo fcinfo, bool wait) {
    const auto tags = tags_of(fcinfo);
    pg::call([&] { // on a standby it would exclude nobody on the primary
        PreventCommandDuringRecovery(wait ? "once.lock()" : "once.try_lock()");
        PreventCommandIfParallelMode(wait ? "once.lock()" : "once.try_lock()");
    });
    const char *verdict = take(tags, wait);
    return pg::call(
        [&] { return pg::enum_datum(get_func_rettype(fcinfo->flinfo->fn_oid), verdict); });
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_lock);
PGDLLEXPORT Datum once_lock(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::lock(fcinfo, true); });
}

PG_FUNCTION_INFO_V1(once_try_lock);
PGDLLEXPORT Datum once_try_lock(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return once::lock(fcinfo, false); });
}

} // extern "C"
