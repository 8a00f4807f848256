#include "relay/inbox/handler.hpp"

#include "relay/options.hpp"
#include "relay/process/crash_point.hpp"
#include "relay/process/exit_code.hpp"

namespace once::inbox {
namespace {

[[noreturn]] void refuse(const std::string &why, const std::string &detail,
                         const std::string &signature) {
    throw Refusal(
        ExitCode::configuration, why, detail,
        "The handler is a function of this signature, which the relay's role may execute: " +
            signature + ".");
}

} // namespace

std::string messages_sql(int first) {
    constexpr const char *types[] = {"text",  "int4", "int8", "text", "bytea",
                                     "jsonb", "text", "text", "int8", "timestamptz"};
    std::string arrays;
    for (const char *type : types)
        arrays += (arrays.empty() ? "$" : ", $") + std::to_string(first++) + "::" + type + "[]";
    return "once.inbox_messages(" + arrays + ")";
}

std::string Handler::signature() const {
    return options_.handler + (options_.per_message ? "(once.message)" : "(once.message[])");
}

void Handler::connect(Session &session) {
    // What the session began with, before its settings.
    const Rows found = session.execute("SELECT (SELECT reset_val FROM pg_catalog.pg_settings s"
                                       " WHERE s.name OPERATOR(pg_catalog.=) 'statement_timeout'),"
                                       " (SELECT reset_val FROM pg_catalog.pg_settings s"
                                       " WHERE s.name OPERATOR(pg_catalog.=) 'lock_timeout')");
    time_limit_ = found.text(0, 0);
    lock_limit_ = found.text(0, 1);
}

void Handler::check(Session &session) {
    const std::string wanted = signature();
    try {
        const Rows found = session.execute(
            "SELECT pg_catalog.format('%I.%I', n.nspname, p.proname), p.prokind = 'f',"
            " pg_catalog.has_function_privilege(p.oid, 'EXECUTE') AND"
            " pg_catalog.has_schema_privilege(n.oid, 'USAGE'), p.provolatile = 'v'"
            " FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
            " WHERE p.oid = pg_catalog.to_regprocedure($1)",
            {wanted});
        if (found.count() == 0)
            refuse("handler " + wanted + " does not exist", {}, wanted);
        if (!found.truth(0, 1))
            refuse("handler " + wanted + " is not a function", {}, wanted);
        if (!found.truth(0, 2))
            refuse("handler " + wanted + " may not be executed by the relay's role", {}, wanted);
        if (!found.truth(0, 3))
            refuse("handler " + wanted + " is not volatile",
                   "PostgreSQL need not call a function that says it has no effect.", wanted);
        name_ = found.text(0, 0);
    } catch (const SqlError &error) {
        if (passes(judge(error.sqlstate, During::own_statement)))
            throw SessionLost(error.what());
        refuse("could not look for handler " + wanted + ": " + error.what(), {}, wanted);
    }
}

void Handler::limit(Session &session) const {
    if (time_limit_ != "0" || lock_limit_ != "0")
        session.execute("SELECT pg_catalog.set_config('statement_timeout', $1, true),"
                        " pg_catalog.set_config('lock_timeout', $2, true)",
                        {time_limit_, lock_limit_});
}

void Handler::call(Session &session, MessageColumns &columns) const {
    limit(session);
    // In FROM and without output columns: whatever the function returns, nothing is sent.
    const std::string call = options_.per_message
                                 ? "SELECT FROM pg_catalog.unnest(" + messages_sql(1) +
                                       ") AS message, LATERAL " + name_ + "(message)"
                                 : "SELECT FROM " + name_ + "(" + messages_sql(1) + ")";
    session.execute_prepared("handle", call, columns.parameters());
    crash_point(CrashPoint::inbox_after_handler);
}

void Handler::call_parked(Session &session, const std::string &id) const {
    limit(session);
    const std::string message =
        "SELECT ROW(m.topic, m.\"partition\", m.log_offset, m.key, m.payload, m.headers, m.id,"
        " m.source, m.pos, m.sent_at)::once.message AS message FROM once.inbox m"
        " WHERE consumer = $1::text AND id = $2::text";
    session.execute_prepared("redrive_handle",
                             options_.per_message
                                 ? "SELECT FROM (" + message + " OFFSET 0) AS q, LATERAL " + name_ +
                                       "(q.message)"
                                 : "SELECT FROM " + name_ + "(ARRAY(" + message + "))",
                             {options_.consumer, id});
}

} // namespace once::inbox
