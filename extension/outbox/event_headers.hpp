// Headers between jsonb, as publish takes them and handlers get them, and the bytes that are stored
// (wire/column_headers.hpp). One form for both directions: what came can be published again.
//
//     "text"              UTF-8 without NUL        {"$bytes": "00ff"}   any other bytes
//     1.5, true           their JSON text          null                 a header without a value
//     [v, ...]              the header several times, in this order
#pragma once

#include "pg/boundary.hpp"

namespace once {

// The bytes of a jsonb Datum; `has_any` is false, and the answer 0, when there are none. ON003,
// with `hint` where the caller has one.
[[nodiscard]] Datum encode_headers(Datum headers, bool &has_any, const char *hint = "");

} // namespace once
