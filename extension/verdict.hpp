// Verdicts leave as enum values of SQL; each family of functions has a type of its own.
#pragma once

#include "pg/value.hpp"

extern "C" {
#include <utils/lsyscache.h>
}

namespace once {

// The same for a function that returns the enum itself.
inline Datum verdict_of(FunctionCallInfo fcinfo, const char *label) {
    return pg::call(
        [&] { return pg::enum_datum(get_func_rettype(fcinfo->flinfo->fn_oid), label); });
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
                for (int i = 0; i < 3; ++i)
                    values[i] = pg::enum_datum(type, labels[i]);
            });
            function = called;
        }
        return values[verdict];
    }
};

} // namespace once
