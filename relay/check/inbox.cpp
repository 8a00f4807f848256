#include "relay/check/checks.hpp"
#include "relay/check/rights.hpp"
#include "relay/postgres/question.hpp"
#include "relay/kafka/client.hpp"

namespace once::checks {

namespace {

constexpr const char *kArea = "inbox";
// What relay/inbox calls.
constexpr const char *kFunctions[] = {
    "accept_many",  "accept_many_uuid",   "accept_offset", "inbox_again", "inbox_done",
    "inbox_fail",   "inbox_messages",     "inbox_park",    "inbox_store", "inbox_take",
    "offset_begin", "offset_claim_topic", "protocol"};

std::string grant_fix(Session &session) {
    return "SELECT once.grant_consumer(" +
           quote(session, ask_text(session, "SELECT current_user")) + ")";
}

bool check_rights(Session &session, Findings &findings) {
    if (ask_text(session, "SELECT 1 FROM pg_extension WHERE extname = 'pg_once'").empty()) {
        findings.error(ExitCode::mismatch, kArea, "extension \"pg_once\" is not in this database",
                       "CREATE EXTENSION pg_once");
        return false;
    }
    std::string missing, absent;
    for (const char *name : kFunctions) {
        const std::string answer =
            ask_text(session,
                     "SELECT bool_and(has_function_privilege(oid, 'EXECUTE')) FROM pg_proc WHERE "
                     "proname = $1 AND pronamespace = 'once'::regnamespace",
                     name);
        if (answer.empty())
            absent += std::string(" ") + name;
        else if (answer != "t")
            missing += std::string(" ") + name + "()";
    }
    if (ask_text(session, "SELECT has_schema_privilege('once', 'USAGE')") != "t")
        missing += " schema once";
    if (!absent.empty())
        findings.error(ExitCode::mismatch, kArea, "the extension lacks functions:" + absent,
                       "install the version of this program and ALTER EXTENSION pg_once UPDATE");
    if (!missing.empty())
        findings.error(ExitCode::database, kArea, "the role has no right to:" + missing,
                       grant_fix(session));
    if (absent.empty() && missing.empty())
        findings.ok(kArea, "the role has every right the inbox needs");
    return absent.empty() && missing.empty();
}

void check_handler(Session &session, const InboxOptions &inbox, Findings &findings) {
    if (inbox.store)
        return;
    const std::string argument = inbox.per_message ? "once.message" : "once.message[]";
    const std::string signature = inbox.handler + "(" + argument + ")";
    const std::string shown = "handler \"" + signature + "\"";
    try {
        // In the role's own search_path: names mean what they mean to it.
        const pqxx::row asked =
            session.row("SELECT pg_catalog.has_function_privilege(pg_catalog.to_regprocedure($1)"
                        "::pg_catalog.oid, 'EXECUTE')",
                        signature);
        const std::string allowed = asked[0].is_null() ? "" : asked[0].as<std::string>();
        if (allowed.empty())
            findings.error(ExitCode::configuration, kArea, shown + " does not exist",
                           "create it, or set per_message if it takes one once.message");
        else if (allowed != "t")
            findings.error(ExitCode::database, kArea, "the role may not execute " + shown,
                           "GRANT EXECUTE ON FUNCTION " + signature + " TO " +
                               ask_text(session, "SELECT quote_ident(current_user)"));
        else
            findings.ok(kArea, shown);
    } catch (const postgres::SqlError &error) {
        findings.error(ExitCode::configuration, kArea,
                       "option \"handler\" is no function name: " + std::string(error.what()),
                       "write it as schema.function");
    }
}

void check_source(Cluster &cluster, const Principal &principal, const InboxOptions &inbox,
                  Findings &findings) {
    const Right from{RD_KAFKA_RESOURCE_TOPIC, inbox.topic, RD_KAFKA_ACL_OPERATION_READ};
    const Right as{RD_KAFKA_RESOURCE_GROUP, inbox.group, RD_KAFKA_ACL_OPERATION_READ};
    if (!inbox.topic.starts_with('^')) {
        const TopicState state = cluster.topic(inbox.topic);
        const std::string name = "topic \"" + inbox.topic + "\"";
        if (state.missing())
            findings.warning(kArea, name + " does not exist yet", "the inbox waits until it does");
        else if (state.error != RD_KAFKA_RESP_ERR_NO_ERROR)
            findings.error(ExitCode::kafka, kArea, name + ": " + rd_kafka_err2str(state.error),
                           acl_fix(principal, from));
        else
            findings.ok(kArea, name + ", " + std::to_string(state.partitions) + " partitions");
        if (state.error == RD_KAFKA_RESP_ERR_NO_ERROR)
            check_right(cluster, principal, from, findings);
    }
    const GroupState group = cluster.group(inbox.group);
    if (group.error != RD_KAFKA_RESP_ERR_NO_ERROR)
        findings.error(ExitCode::kafka, kArea,
                       "group \"" + inbox.group + "\": " + rd_kafka_err2str(group.error),
                       acl_fix(principal, as));
    else if (!group.foreign_clients.empty())
        findings.error(ExitCode::configuration, kArea,
                       "group \"" + inbox.group + "\" is used by another program (client id \"" +
                           group.foreign_clients.front() + "\"), which would take partitions away",
                       "choose a group of its own for the inbox");
    else
        findings.ok(kArea, "group \"" + inbox.group + "\"");
    if (group.error == RD_KAFKA_RESP_ERR_NO_ERROR)
        check_right(cluster, principal, as, findings);
}

Principal principal_at(Cluster &cluster, const KafkaOptions &options) {
    const std::vector<std::int32_t> ids = cluster.brokers();
    std::string error;
    const auto settings = ids.empty() ? std::nullopt : cluster.broker_settings(ids.front(), error);
    return principal_of(options, settings.value_or(SettingMap()));
}

} // namespace

void check_inboxes(const Options &options, Findings &findings) {
    if (options.inbox.empty())
        return;
    try {
        const auto session = postgres::open_session(options.database);
        if (!check_rights(*session, findings))
            return;
        Cluster cluster(options.kafka);
        const bool answered = !cluster.identity().empty();
        if (!answered)
            findings.error(ExitCode::kafka, kArea, kafka::no_answer(options.kafka.brokers),
                           "check the option \"brokers\", the network and kafka.security.protocol");
        const Principal principal = answered ? principal_at(cluster, options.kafka) : Principal();
        for (const InboxOptions &inbox : options.inbox) {
            check_handler(*session, inbox, findings);
            if (answered)
                check_source(cluster, principal, inbox, findings);
        }
    } catch (const DatabaseError &failure) {
        findings.error(ExitCode::database, kArea, std::string("could not ask: ") + failure.what(),
                       "see the server's log");
    }
}

} // namespace once::checks
