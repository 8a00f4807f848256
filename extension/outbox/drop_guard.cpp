// DROP EXTENSION takes the events along that no relay has shipped. It is refused until somebody
// says that they may go: SET once.drop_unshipped = on.
//
// The extension is dropped by many statements: its own, DROP OWNED, a CASCADE from a language. An
// event trigger sees each of them before anything is gone, but cannot know what it will take along;
// the server's hook knows, but comes when tables are gone already. So the trigger counts, and the
// hook decides.
#include "outbox/lanes.hpp"
#include "pg/spi.hpp"
#include "settings.hpp"

extern "C" {
#include <catalog/objectaccess.h>
#include <catalog/pg_extension.h>
#include <commands/event_trigger.h>
#include <commands/extension.h>
}

namespace once {
namespace {

object_access_hook_type next_hook = nullptr;
int64 unshipped = 0; // as of the statement that is running

void refuse_drop(ObjectAccessType access, Oid class_id, Oid object, int column, void *argument) {
    if (next_hook)
        next_hook(access, class_id, object, column, argument);
    if (access != OAT_DROP || class_id != ExtensionRelationId || unshipped == 0 ||
        object != get_extension_oid("pg_once", true))
        return;
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_IN_USE),
             errmsg("cannot drop extension pg_once: events wait that no relay has shipped"),
             errdetail("There are %lld of them, as of the relays' last reports: in the lanes, in "
                       "once.scheduled and in once.dead_letter.",
                       static_cast<long long>(unshipped)),
             errhint("Let the relays drain the outbox (once-relay outbox --until-empty), or SET "
                     "once.drop_unshipped = on to lose them.")));
}

int64 count_unshipped() {
    static pg::Plan plan("SELECT once.unshipped()", {});
    const pg::Spi spi;
    // What goes with the tables is what is there now, whatever the transaction's snapshot shows.
    const pg::NewestSnapshot snapshot;
    plan.execute({}, snapshot);
    bool null;
    return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
}

} // namespace
} // namespace once

extern "C" {

// Event trigger, ddl_command_start.
PG_FUNCTION_INFO_V1(once_drop_guard);
PGDLLEXPORT Datum once_drop_guard(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
            throw pg::Failure{ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED,
                              "once.drop_guard is an event trigger"};
        static bool installed = false;
        if (!installed) {
            once::next_hook = object_access_hook;
            object_access_hook = once::refuse_drop;
            installed = true;
        }
        once::unshipped = once::settings::drop_unshipped ? 0 : once::count_unshipped();
        return PointerGetDatum(nullptr);
    });
}

} // extern "C"
