// What tells one server's history from another's: identifiers, and the timelines of its WAL.
#include "errors.hpp"
#include "pg/compat.hpp"
#include "pg/row.hpp"

#include <string>

extern "C" {
#include <access/timeline.h>
#include <access/transam.h>
#include <access/xlog.h>
#include <mb/pg_wchar.h>
#include <utils/pg_lsn.h>
#include <utils/xid8.h>
}

namespace once {
namespace {

enum class Fault { none, timeline, lsn };

struct Finding {
    Fault fault = Fault::none;
    TimeLineID here = 0;
    XLogRecPtr limit = InvalidXLogRecPtr; // how far the position's timeline is part of this history
};

// Within pg::call. Not from pg_control, which learns of a promotion only at the next checkpoint.
Finding look(TimeLineID timeline, XLogRecPtr lsn) {
    Finding found;
    found.here = pg::write_timeline();
    if (timeline == found.here) {
        found.limit = GetXLogInsertRecPtr();
    } else {
        List *history = readTimeLineHistory(found.here);
        if (!tliInHistory(timeline, history)) {
            found.fault = Fault::timeline;
            return found;
        }
        found.limit = tliSwitchPoint(timeline, history, nullptr);
    }
    if (lsn > found.limit)
        found.fault = Fault::lsn;
    return found;
}

std::string text_of(XLogRecPtr lsn) {
    char text[32];
    snprintf(text, sizeof(text), "%X/%X", static_cast<uint32>(lsn >> 32), static_cast<uint32>(lsn));
    return text;
}

} // namespace
} // namespace once

extern "C" {

// (timeline int, lsn pg_lsn) → (reason text, detail text); both null when nothing is wrong.
PG_FUNCTION_INFO_V1(once_timeline_fault);
PGDLLEXPORT Datum once_timeline_fault(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
            throw pg::Failure{ERRCODE_NULL_VALUE_NOT_ALLOWED,
                              "timeline and position in WAL must not be null"};
        pg::call([] { PreventCommandDuringRecovery("once.history_check()"); });
        const auto timeline = static_cast<TimeLineID>(PG_GETARG_INT32(0));
        const XLogRecPtr lsn = PG_GETARG_LSN(1);
        const once::Finding found = pg::call([&] { return once::look(timeline, lsn); });
        bool nulls[] = {true, true};
        Datum values[] = {0, 0};
        if (found.fault != once::Fault::none) {
            const bool foreign = found.fault == once::Fault::timeline;
            const std::string where = "timeline " + std::to_string(timeline);
            const std::string detail =
                foreign
                    ? "The position is of " + where + ", which is not in the history of timeline " +
                          std::to_string(found.here) + "."
                    : "The position stands at " + once::text_of(lsn) + " of " + where +
                          ", this server has it up to " + once::text_of(found.limit) + ".";
            const char *texts[] = {foreign ? "timeline" : "lsn", detail.c_str()};
            for (int i = 0; i < 2; ++i) {
                values[i] = pg::call([&] { return CStringGetTextDatum(texts[i]); });
                nulls[i] = false;
            }
        }
        static constexpr pg::Column kColumns[] = {{"reason", TEXTOID}, {"detail", TEXTOID}};
        return pg::row(fcinfo, kColumns, values, nulls);
    });
}

PG_FUNCTION_INFO_V1(once_server_identity);
PGDLLEXPORT Datum once_server_identity(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        Datum values[6];
        bool nulls[6] = {};
        pg::call([&] {
            const bool in_recovery = RecoveryInProgress();
            values[0] = Int64GetDatum(static_cast<int64>(GetSystemIdentifier()));
            values[1] = in_recovery ? 0 : Int32GetDatum(static_cast<int32>(pg::write_timeline()));
            nulls[1] = in_recovery;
            values[2] = BoolGetDatum(in_recovery);
            values[3] = FullTransactionIdGetDatum(ReadNextFullTransactionId());
            values[4] = ObjectIdGetDatum(MyDatabaseId);
            values[5] = CStringGetTextDatum(GetDatabaseEncodingName());
        });
        static constexpr pg::Column kColumns[] = {
            {"system_identifier", INT8OID}, {"timeline", INT4OID},    {"in_recovery", BOOLOID},
            {"next_xid", XID8OID},          {"database_oid", OIDOID}, {"encoding", TEXTOID}};
        return pg::row(fcinfo, kColumns, values, nulls);
    });
}

} // extern "C"
