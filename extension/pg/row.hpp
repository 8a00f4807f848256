// Results of functions with OUT parameters.
#pragma once

#include "pg/boundary.hpp"

extern "C" {
#include <access/htup_details.h>
}

namespace pg {

// One row of the function's own result type. `nulls` may be nullptr: none is.
inline Datum row(FunctionCallInfo fcinfo, const Datum *values, const bool *nulls) {
    return call([&] {
        TupleDesc type;
        if (get_call_result_type(fcinfo, nullptr, &type) != TYPEFUNC_COMPOSITE)
            elog(ERROR, "return type must be a row type");
        bool none[MaxTupleAttributeNumber] = {};
        HeapTuple tuple = heap_form_tuple(BlessTupleDesc(type), const_cast<Datum *>(values),
                                          const_cast<bool *>(nulls ? nulls : none));
        return HeapTupleGetDatum(tuple);
    });
}

} // namespace pg
