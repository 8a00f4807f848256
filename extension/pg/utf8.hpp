// Text as UTF-8, whatever the database's encoding: what is hashed or shown outside of the database
// must not change its meaning when a dump moves it to another encoding.
#pragma once

#include "pg/boundary.hpp"

extern "C" {
#include <mb/pg_wchar.h>
}

#include <cstring>
#include <string_view>

namespace pg {

// The same bytes in a UTF-8 or SQL_ASCII database; else a copy in the current context. May throw.
inline std::string_view utf8(std::string_view text) {
    if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
        return text;
    return call([&] {
        const char *converted =
            pg_server_to_any(text.data(), static_cast<int>(text.size()), PG_UTF8);
        if (converted == text.data())
            return text;
        return std::string_view(converted, std::strlen(converted));
    });
}

// Back again: UTF-8 in the database's encoding.
inline std::string_view from_utf8(std::string_view text) {
    if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
        return text;
    return call([&] {
        const char *converted =
            pg_any_to_server(text.data(), static_cast<int>(text.size()), PG_UTF8);
        if (converted == text.data())
            return text;
        return std::string_view(converted, std::strlen(converted));
    });
}

// Whether text is stored as it is hashed.
inline bool stores_utf8() {
    return GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII;
}

} // namespace pg
