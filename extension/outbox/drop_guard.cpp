// DROP EXTENSION pg_once takes the outbox with it: refused while events wait in it, unless asked
// for. An event trigger, because PostgreSQL asks nobody else before it drops.
#include "pg/boundary.hpp"
#include "pg/spi.hpp"
#include "settings.hpp"

extern "C" {
#include <commands/event_trigger.h>
#include <nodes/parsenodes.h>
#include <nodes/value.h>
}

namespace once {
namespace {

bool drops_us(const Node *statement) {
    if (!IsA(statement, DropStmt))
        return false;
    const auto *drop = reinterpret_cast<const DropStmt *>(statement);
    if (drop->removeType != OBJECT_EXTENSION)
        return false;
    ListCell *cell;
    foreach (cell, drop->objects)
        if (strcmp(strVal(lfirst(cell)), "pg_once") == 0)
            return true;
    return false;
}

int64 waiting() {
    static pg::Plan plan("SELECT once.unshipped()", {});
    const pg::Spi spi;
    plan.execute({});
    bool null;
    return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_drop_guard);
PGDLLEXPORT Datum once_drop_guard(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
            throw pg::Failure{ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED,
                              "once.drop_guard is an event trigger"};
        const auto *data = reinterpret_cast<EventTriggerData *>(fcinfo->context);
        if (once::settings::drop_unshipped || !once::drops_us(data->parsetree))
            return PointerGetDatum(nullptr);
        if (const int64 count = once::waiting(); count > 0)
            throw pg::Failure{ERRCODE_OBJECT_IN_USE,
                              "cannot drop extension pg_once: events wait in its outbox",
                              std::to_string(count) + " events were not shipped.",
                              "Drain it (once-relay outbox --until-empty), or SET "
                              "once.drop_unshipped = on to lose them."};
        return PointerGetDatum(nullptr);
    });
}

} // extern "C"
