// Strong random bytes from a stock: asking the random source for each uuid costs more than writing
// a row.
#pragma once

#include "pg/boundary.hpp"

namespace pg {

// May throw pg::Error. At most 64 bytes at once.
inline void random_bytes(unsigned char *into, size_t count) {
    static unsigned char stock[4096];
    static size_t used = sizeof stock;
    if (count > sizeof stock - used) {
        call([] {
            if (!pg_strong_random(stock, sizeof stock))
                ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
                                errmsg("could not generate random values")));
        });
        used = 0;
    }
    memcpy(into, stock + used, count);
    memset(stock + used, 0, count); // tokens do not stay in memory
    used += count;
}

} // namespace pg
