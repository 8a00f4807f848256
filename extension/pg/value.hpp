// Datums of the types that our functions answer with.
#pragma once

#include "pg/boundary.hpp"

extern "C" {
#include <access/htup_details.h>
#include <catalog/pg_enum.h>
#include <utils/syscache.h>
#include <utils/timestamp.h>
#include <utils/uuid.h>
}

#include <array>

namespace pg {

// The enumerator `label` of an enum type. To be called inside call() or where ERROR may jump.
inline Datum enum_datum(Oid type, const char *label) {
    HeapTuple tuple =
        SearchSysCache2(ENUMTYPOIDNAME, ObjectIdGetDatum(type), CStringGetDatum(label));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "enum type %u has no label \"%s\"", type, label);
    const Oid enumerator = reinterpret_cast<Form_pg_enum>(GETSTRUCT(tuple))->oid;
    ReleaseSysCache(tuple);
    return ObjectIdGetDatum(enumerator);
}

// A uuid of these 16 bytes in the current memory context.
inline Datum uuid_of(const unsigned char *bytes) {
    auto *uuid = static_cast<pg_uuid_t *>(call([] { return palloc(sizeof(pg_uuid_t)); }));
    memcpy(uuid->data, bytes, sizeof uuid->data);
    return UUIDPGetDatum(uuid);
}

inline Datum uuid_of(const std::array<unsigned char, 16> &bytes) {
    return uuid_of(bytes.data());
}

inline Datum interval_of(int64 microseconds) {
    auto *interval = static_cast<Interval *>(call([] { return palloc0(sizeof(Interval)); }));
    interval->time = microseconds;
    return IntervalPGetDatum(interval);
}

} // namespace pg
