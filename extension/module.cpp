// The module's entry: settings, and nothing else at load time. Needs no shared_preload_libraries.
#include "pg/boundary.hpp"
#include "pg/compat.hpp"

#include "outbox/session_headers.hpp"
#include "pg/memory.hpp"
#include "settings.hpp"

#include <climits>

extern "C" {
#include <utils/guc.h>
}

namespace once::settings {
int max_event_bytes = 900 * 1024;
int max_backlog = 0;
bool strict_topics = false;
bool strict_consumers = false;
bool drop_unshipped = false;
} // namespace once::settings

extern "C" {

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void _PG_init(void) {
    using namespace once::settings;
    DefineCustomIntVariable(
        "once.max_event_bytes", "Largest event that publish accepts (key, payload and headers).",
        "Keep it below the broker's message.max.bytes.", &max_event_bytes, 900 * 1024, 1024,
        512 * 1024 * 1024, PGC_SUSET, GUC_UNIT_BYTE, nullptr, nullptr, nullptr);
    DefineCustomIntVariable(
        "once.max_backlog", "Events that may wait in a lane before publish refuses more (ON004).",
        "0: no limit.", &max_backlog, 0, 0, INT_MAX, PGC_SUSET, 0, nullptr, nullptr, nullptr);
    DefineCustomBoolVariable(
        "once.strict_topics", "Refuse to publish to a topic that topic_set has not declared.",
        nullptr, &strict_topics, false, PGC_SUSET, 0, nullptr, nullptr, nullptr);
    DefineCustomBoolVariable("once.strict_consumers",
                             "Refuse ids of a consumer that consumer_set has not declared (ON010).",
                             nullptr, &strict_consumers, false, PGC_SUSET, 0, nullptr, nullptr,
                             nullptr);
    DefineCustomBoolVariable("once.drop_unshipped",
                             "Lets DROP EXTENSION pg_once take events along that were not shipped.",
                             nullptr, &drop_unshipped, false, PGC_SUSET, 0, nullptr, nullptr,
                             nullptr);
    once::define_session_headers();
    pg::reserve_setting_prefix("once");
}

// The version of the library that this session has loaded: scripts ask before they rely on it.
PG_FUNCTION_INFO_V1(once_library_version);
PGDLLEXPORT Datum once_library_version(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return pg::varlena_of(std::string_view(PG_ONCE_VERSION)); });
}

// What a later library knows and this one does not (sql/upgrade/README.md).
#ifdef PG_ONCE_DUMMY
PG_FUNCTION_INFO_V1(once_dummy_2);
PGDLLEXPORT Datum once_dummy_2(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum { return BoolGetDatum(true); });
}
#endif

} // extern "C"
