// Text between the database's encoding and UTF-8, which is what Kafka gets.
#pragma once

#include "pg/prelude.hpp"

extern "C" {
#include <mb/pg_wchar.h>
}

#include <string_view>

namespace pg {

// Bytes in the database's encoding as UTF-8; the same bytes where the database is UTF-8. Within
// pg::call. 22P05, 22021 when a character cannot be converted.
inline std::string_view utf8(std::string_view text) {
    if (GetDatabaseEncoding() == PG_UTF8)
        return text;
    char *source = const_cast<char *>(text.data());
    const char *converted = pg_server_to_any(source, static_cast<int>(text.size()), PG_UTF8);
    return converted == source ? text : std::string_view(converted);
}

// The other way, in memory of its own. Within pg::call. 22P05 when a character does not exist
// there.
inline std::string_view from_utf8(std::string_view text) {
    char *copy = pnstrdup(text.data(), text.size());
    return pg_any_to_server(copy, static_cast<int>(text.size()), PG_UTF8);
}

} // namespace pg
