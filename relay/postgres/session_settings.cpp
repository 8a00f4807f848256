#include "relay/postgres/session_settings.hpp"

#include "relay/options.hpp"

namespace once::postgres {
namespace {

using std::chrono::milliseconds;

// Each setting with what goes wrong without it.
std::string of_the_relay(const DatabaseOptions &options) {
    const std::string timeout = std::to_string(options.session_timeout_ms);
    return
        // A role that the connection string or the role's settings do not name; a session that is
        // handed on by a pooler may have another one.
        "RESET SESSION AUTHORIZATION; RESET ROLE"
        "; SET idle_in_transaction_session_timeout = " +
        timeout + "; SET tcp_user_timeout = " + timeout +
        // What was told to be durable must survive a crash of the server.
        "; SET synchronous_commit = on"
        "; SET default_transaction_isolation = 'read committed'"
        "; SET default_transaction_read_only = off; SET client_min_messages = warning";
}

std::string of_a_lane(const DatabaseOptions &options) {
    return of_the_relay(options) +
           // A relay that hangs must not keep the lane.
           "; SET idle_session_timeout = " + std::to_string(options.session_timeout_ms) +
           // A killed relay's backend in once.wait() must not keep it either.
           "; SET client_connection_check_interval = 200"
           // A statement that outlives the timeout of a holder looks like a holder that hangs.
           "; SET statement_timeout = 10000; SET lock_timeout = 5000"
           // A function or operator that fits our arguments better than the server's, in a schema
           // where others may create, would run with the relay's rights.
           "; SET search_path = pg_catalog, pg_temp"
           "; SET bytea_output = 'hex'; SET DateStyle = 'ISO'; SET TimeZone = 'UTC'"
           "; SET extra_float_digits = 1"
           // The plans we want are known: the xid index for small differences, the primary keys
           // in order for big ones. Statistics of tables that are truncated all the time mislead.
           "; SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off"
           "; SET max_parallel_workers_per_gather = 0; SET jit = off";
}

std::string of_upkeep(const DatabaseOptions &options) {
    return of_the_relay(options) +
           "; SET idle_session_timeout = 0"
           "; SET client_connection_check_interval = 1000"
           // What waits for a lock of somebody's maintenance is tried again later.
           "; SET lock_timeout = 100; SET statement_timeout = 60000"
           "; SET search_path = pg_catalog, pg_temp; SET TimeZone = 'UTC'"
           "; SET max_parallel_workers_per_gather = 0; SET jit = off";
}

std::string of_an_inbox(const DatabaseOptions &options) {
    return of_the_relay(options) +
           // A pause between messages is none of the relay's hanging: it holds no lock then.
           "; SET idle_session_timeout = 0"
           // The backend of a relay that was killed in a handler keeps the rows of its offsets.
           "; SET client_connection_check_interval = 1000"
           // And that of one whose host has vanished: nobody hears of that for two hours.
           "; SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 5"
           "; SET tcp_keepalives_count = 2"
           // Waiting for another member's offset takes 15 s and more by design, and a handler as
           // long as it needs. The role's are for the handler's call (inbox/handler).
           "; SET statement_timeout = 0; SET lock_timeout = 0";
}

} // namespace

std::string session_settings(Purpose purpose, const DatabaseOptions &options) {
    switch (purpose) {
    case Purpose::lane:
        return of_a_lane(options);
    case Purpose::upkeep:
        return of_upkeep(options);
    case Purpose::inbox:
        return of_an_inbox(options);
    case Purpose::question:
        return {}; // before anything is installed, and through any pooler
    }
    return {};
}

milliseconds patience_of(Purpose purpose) {
    switch (purpose) {
    case Purpose::lane:
        return milliseconds(15000);
    case Purpose::upkeep:
        return milliseconds(65000);
    case Purpose::inbox:
        return milliseconds(15000);
    case Purpose::question:
        return milliseconds(30000);
    }
    return milliseconds(15000);
}

const char *application_name(Purpose purpose) {
    switch (purpose) {
    case Purpose::lane:
    case Purpose::question:
        return "once-relay";
    case Purpose::upkeep:
        return "once-relay upkeep";
    case Purpose::inbox:
        return "once-relay inbox";
    }
    return "once-relay";
}

} // namespace once::postgres
