// Array arguments.
#pragma once

#include "pg/boundary.hpp"

extern "C" {
#include <utils/array.h>
#include <utils/lsyscache.h>
}

namespace pg {

// The elements of a one-dimensional array. Trivially destructible; memory of the current context.
struct Elements {
    Datum *value = nullptr;
    bool *null = nullptr;
    int count = 0;
    [[nodiscard]] bool has(int i) const { return i < count && !null[i]; }
};

// 22023 for more dimensions than one, 42804 for elements of another type than `type` (the function
// was declared by another version); `name` is how errors call it. May throw.
inline Elements elements_of(Datum datum, const char *name, Oid type) {
    Elements found;
    ArrayType *array = call([&] { return DatumGetArrayTypeP(datum); });
    if (ARR_NDIM(array) > 1)
        throw Failure{ERRCODE_INVALID_PARAMETER_VALUE,
                      std::string(name) + " must be an array of one dimension"};
    if (ARR_ELEMTYPE(array) != type)
        throw Failure{ERRCODE_DATATYPE_MISMATCH,
                      std::string("elements of ") + name + " have another type than expected"};
    call([&] {
        int16 length;
        bool by_value;
        char alignment;
        get_typlenbyvalalign(type, &length, &by_value, &alignment);
        deconstruct_array(array, type, length, by_value, alignment, &found.value, &found.null,
                          &found.count);
    });
    return found;
}

// The same of an argument; none when it is null.
inline Elements elements_of(FunctionCallInfo fcinfo, int argument, const char *name, Oid type) {
    return PG_ARGISNULL(argument) ? Elements{} : elements_of(PG_GETARG_DATUM(argument), name, type);
}

} // namespace pg
