// once.require_name: the check of a name, for functions that are written in SQL.
#include "arguments.hpp"

#include "pg/boundary.hpp"

extern "C" {

PG_FUNCTION_INFO_V1(once_require_name);
PGDLLEXPORT Datum once_require_name(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        once::require_argument(fcinfo, 1, "what");
        once::require_argument(fcinfo, 2, "code");
        const std::string what(pg::bytes_of(PG_GETARG_DATUM(1)));
        const std::string code(pg::bytes_of(PG_GETARG_DATUM(2)));
        if (code.size() != 5)
            throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "a code has 5 characters"};
        once::require_argument(fcinfo, 0, what.c_str());
        once::check_name(pg::bytes_of(PG_GETARG_DATUM(0)), what.c_str(),
                         MAKE_SQLSTATE(code[0], code[1], code[2], code[3], code[4]));
        PG_RETURN_VOID();
    });
}

} // extern "C"
