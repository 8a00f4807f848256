// Verdicts leave as enum values of SQL; each family of functions has a type of its own.
#pragma once

#include "pg/boundary.hpp"

extern "C" {
#include <catalog/pg_enum.h>
#include <utils/lsyscache.h>
#include <utils/syscache.h>
}

namespace once {

// The value `label` of the enum type `type`. Server world.
inline Datum enum_value(Oid type, const char *label) {
    const Oid value = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid, ObjectIdGetDatum(type),
                                      CStringGetDatum(label));
    if (!OidIsValid(value))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                        errmsg("type %u has no value \"%s\"", type, label)));
    return ObjectIdGetDatum(value);
}

// The same for a function that returns the enum itself.
inline Datum verdict_of(FunctionCallInfo fcinfo, const char *label) {
    return pg::call([&] { return enum_value(get_func_rettype(fcinfo->flinfo->fn_oid), label); });
}

// The values of the enum that a function returns, looked up once a session for each function.
struct ReturnedVerdicts {
    Oid function = InvalidOid;
    Datum values[3] = {};

    Datum of(FunctionCallInfo fcinfo, const char *const (&labels)[3], int verdict) {
        const Oid called = fcinfo->flinfo->fn_oid;
        if (function != called) {
            pg::call([&] {
                const Oid type = get_func_rettype(called);
                for (int i = 0; i < 3; i++)
                    values[i] = enum_value(type, labels[i]);
            });
            function = called;
        }
        return values[verdict];
    }
};

// What every writing function refuses first: a read-only transaction, a standby (25006), a parallel
// worker.
inline void check_writable(const char *function) {
    pg::call([&] {
        PreventCommandIfReadOnly(function);
        PreventCommandIfParallelMode(function);
        PreventCommandDuringRecovery(function);
    });
}

inline void refuse_null(FunctionCallInfo fcinfo, int argument, const char *name) {
    if (PG_ARGISNULL(argument))
        throw pg::Failure{ERRCODE_NULL_VALUE_NOT_ALLOWED, std::string(name) + " must not be null"};
}

} // namespace once
