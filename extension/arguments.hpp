// Arguments of SQL-callable functions, checked before anything is stored. Pure but for detoasting.
// Limits (design §7): names and keys have 1 to 255 bytes and no control characters.
#pragma once

#include "pg/boundary.hpp"
#include "pg/memory.hpp"

extern "C" {
#include <tcop/utility.h>
}

#include <string>
#include <string_view>

namespace once {

constexpr size_t kMaxNameBytes = 255;

// Throws 22004 when argument `index` is null.
inline void require_argument(FunctionCallInfo fcinfo, int index, const char *what) {
    if (PG_ARGISNULL(index))
        throw pg::Failure{ERRCODE_NULL_VALUE_NOT_ALLOWED, std::string(what) + " must not be null"};
}

// What every writing function refuses first: a read-only transaction, a standby (25006), a parallel
// worker.
inline void check_writable(const char *function) {
    pg::call([&] {
        PreventCommandIfReadOnly(function);
        PreventCommandDuringRecovery(function);
        PreventCommandIfParallelMode(function);
    });
}

// Throws unless `name` is one.
inline void check_name(std::string_view name, const char *what,
                       int sqlstate = ERRCODE_INVALID_PARAMETER_VALUE) {
    if (name.empty() || name.size() > kMaxNameBytes)
        throw pg::Failure{sqlstate, std::string(what) + " must have 1 to 255 bytes",
                          "It has " + std::to_string(name.size()) + " bytes."};
    for (unsigned char byte : name)
        if (byte < 0x20 || byte == 0x7f)
            throw pg::Failure{sqlstate, std::string(what) + " must not contain control characters"};
}

// Argument `index` as a checked name; 22004, 22023. The view lives as long as the current memory
// context.
inline std::string_view name_argument(FunctionCallInfo fcinfo, int index, const char *what) {
    require_argument(fcinfo, index, what);
    const std::string_view name = pg::bytes_of(PG_GETARG_DATUM(index));
    check_name(name, what);
    return name;
}

} // namespace once
