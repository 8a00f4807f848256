// Symbols of older scripts (sql/upgrade/README.md). A function whose arguments, result or meaning
// change gets a new symbol; the old one stays for a release, and refuses.
#pragma once

#include "pg/boundary.hpp"

#define ONCE_RETIRED(symbol)                                                                       \
    PG_FUNCTION_INFO_V1(symbol);                                                                   \
    PGDLLEXPORT Datum symbol(PG_FUNCTION_ARGS) {                                                   \
        return pg::entry([&]() -> Datum {                                                          \
            throw pg::Failure{ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,                            \
                              "function \"" #symbol "\" is of an older script than this library",  \
                              "The library was updated, the extension in this database was not.",  \
                              "Run ALTER EXTENSION pg_once UPDATE."};                              \
        });                                                                                        \
    }
