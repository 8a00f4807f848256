// The only place that looks at PG_VERSION_NUM: what differs between PostgreSQL 14 and 18.
#pragma once

#include "pg/prelude.hpp"

extern "C" {
#include <utils/guc.h>
}

static_assert(PG_VERSION_NUM >= 140000, "pg_once needs PostgreSQL 14 or newer");

namespace pg {

// 15 renamed it and made unknown settings of the prefix an error.
inline void reserve_setting_prefix(const char *prefix) {
#if PG_VERSION_NUM >= 150000
    MarkGUCPrefixReserved(prefix);
#else
    EmitWarningsOnPlaceholders(prefix);
#endif
}

} // namespace pg
