#include "relay/check/checks.hpp"
#include "relay/postgres/question.hpp"

#include "relay/postgres/protocol.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace once::checks {

namespace {

constexpr const char *kArea = "database";
// So many of the last events of each lane tell which topics are in use.
constexpr const char *kSampledEvents = "5000";

// What relay/outbox and relay/postgres call.
constexpr const char *kFunctions[] = {"cut",
                                      "deliver_due",
                                      "held_keys",
                                      "history_check",
                                      "identity",
                                      "lane_lock",
                                      "missing_ids",
                                      "passed_over",
                                      "park",
                                      "parked_seqs",
                                      "protocol",
                                      "redrive_next",
                                      "redrive_refused",
                                      "redrive_stamped",
                                      "redrive_unstamp",
                                      "report",
                                      "status",
                                      "sweep",
                                      "trim",
                                      "wait"};
constexpr const char *kRelations[] = {"lane", "dead_letter", "relay_report"};

std::string grant_fix(Session &session, const char *kind) {
    return std::string("SELECT once.grant_") + kind + "(" +
           quote(session, ask_text(session, "SELECT current_user")) + ")";
}

// false: nothing of the extension can be asked.
bool check_extension(Session &session, Findings &findings) {
    const std::string version =
        ask_text(session, "SELECT extversion FROM pg_extension WHERE extname = 'pg_once'");
    if (version.empty()) {
        findings.error(ExitCode::mismatch, kArea,
                       "extension \"pg_once\" is not in database \"" +
                           ask_text(session, "SELECT current_database()") + "\"",
                       "CREATE EXTENSION pg_once");
        return false;
    }
    if (ask_text(session, "SELECT has_schema_privilege('once', 'USAGE')") != "t") {
        findings.error(ExitCode::database, kArea, "the role may not use schema \"once\"",
                       grant_fix(session, "relay"));
        return false;
    }
    try {
        const pqxx::result found = ask(session, postgres::kAskProtocol);
        postgres::require_protocol({found[0][0].as<int>(), found[0][1].as<int>()});
    } catch (const Refusal &refusal) {
        findings.error(ExitCode::mismatch, kArea, refusal.what(), refusal.hint);
        return false;
    } catch (const postgres::SqlError &error) {
        if (error.sqlstate == "42501")
            return true; // reported with the other rights
        findings.error(ExitCode::mismatch, kArea,
                       "extension \"pg_once\" " + version + " has no protocol: " + error.what(),
                       "install the version of this program and ALTER EXTENSION pg_once UPDATE");
        return false;
    }
    if (version == ONCE_VERSION)
        findings.ok(kArea, "extension pg_once " + version);
    else
        findings.warning(kArea, "extension pg_once " + version + ", this program " ONCE_VERSION,
                         "ALTER EXTENSION pg_once UPDATE");
    return true;
}

// Missing ones in one line: they are repaired by one statement.
void check_privileges(Session &session, Findings &findings) {
    std::string missing, absent;
    const pqxx::result functions =
        ask(session,
            "SELECT w.name, bool_and(has_function_privilege(p.oid, 'EXECUTE')) FROM "
            "unnest($1::text[]) w (name) LEFT JOIN pg_proc p ON p.proname = w.name AND "
            "p.pronamespace = 'once'::regnamespace GROUP BY 1 ORDER BY 1",
            std::vector<std::string_view>(std::begin(kFunctions), std::end(kFunctions)));
    for (const auto &row : functions)
        if (row[1].is_null())
            absent += " " + row[0].as<std::string>();
        else if (!row[1].as<bool>())
            missing += " " + row[0].as<std::string>() + "()";
    const pqxx::result relations =
        ask(session,
            "SELECT relname FROM pg_class WHERE relnamespace = 'once'::regnamespace AND "
            "(relname = ANY ($1::text[]) OR (relname ~ '^event_[0-9]+$' AND relkind = 'v')) "
            "AND NOT has_table_privilege(oid, 'SELECT') ORDER BY 1",
            std::vector<std::string_view>(std::begin(kRelations), std::end(kRelations)));
    for (const auto &row : relations)
        missing += " " + row[0].as<std::string>();
    if (!absent.empty())
        findings.error(ExitCode::mismatch, kArea, "the extension lacks functions:" + absent,
                       "install the version of this program and ALTER EXTENSION pg_once UPDATE");
    if (!missing.empty())
        findings.error(ExitCode::database, kArea, "the role has no right to:" + missing,
                       grant_fix(session, "relay"));
    if (absent.empty() && missing.empty())
        findings.ok(kArea, "the role has every right the relay needs");
    if (ask_text(session, "SHOW is_superuser") == "on")
        findings.warning(kArea, "the role is a superuser",
                         "give the relay a role of its own and " + grant_fix(session, "relay"));
}

void check_lanes(const Options &options, Session &session, Findings &findings, Facts &facts) {
    const pqxx::result rows =
        ask(session, "SELECT lane, incarnation, armed, coalesce(cluster_id, ''), "
                     "coalesce(mode, '') FROM once.lane ORDER BY lane");
    const std::vector<int> &wanted = options.outbox.lanes;
    for (const auto &row : rows) {
        const LaneFacts lane{row[0].as<int>(), row[1].as<std::string>(), row[2].as<bool>(),
                             row[3].as<std::string>()};
        if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), lane.lane) == wanted.end())
            continue;
        facts.lanes.push_back(lane);
        if (const std::string mode = row[4].as<std::string>(); !mode.empty())
            findings.warning(kArea,
                             "lane " + std::to_string(lane.lane) + " was rearmed with \"" + mode +
                                 "\" and not begun yet",
                             "the relay begins so at its next start");
    }
    for (const int number : wanted)
        if (std::none_of(facts.lanes.begin(), facts.lanes.end(),
                         [&](const LaneFacts &lane) { return lane.lane == number; }))
            findings.error(ExitCode::configuration, kArea,
                           "lane " + std::to_string(number) + " does not exist",
                           "choose from 0 to " + std::to_string(static_cast<int>(rows.size()) - 1) +
                               ", or SELECT once.set_lanes(n) before first use");
    if (facts.lanes.empty() && wanted.empty())
        findings.error(ExitCode::mismatch, kArea, "there is no lane", "SELECT once.set_lanes(1)");
    else if (!facts.lanes.empty())
        findings.ok(kArea, std::to_string(facts.lanes.size()) + " of " +
                               std::to_string(rows.size()) + " lanes to ship");
}

// Logical replication copies every table it is told to, ours too: events of one server would be
// shipped by another, and rows that both write stop the whole subscription.
void check_replication(Session &session, Findings &findings) {
    const std::string from =
        ask_text(session, "SELECT string_agg(DISTINCT quote_ident(pubname), ', ') FROM "
                          "pg_publication_tables WHERE schemaname = 'once'");
    if (!from.empty())
        findings.warning(kArea, "tables of schema \"once\" are in publications: " + from,
                         "publish the application's tables by name or by schema (README, "
                         "\"Logical replication\")");
    const std::string to = ask_text(
        session, "SELECT string_agg(DISTINCT srsubid::text, ', ') FROM pg_subscription_rel WHERE "
                 "srrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'once'::regnamespace)");
    if (!to.empty())
        findings.error(ExitCode::refused, kArea,
                       "tables of schema \"once\" are filled by subscriptions (oid " + to + ")",
                       "leave them out of the publication, then ALTER SUBSCRIPTION ... REFRESH "
                       "PUBLICATION");
}

// By them sessions forget what they remember of lanes, topics and machines, and lanes are made. One
// that is off, or does not fire in the replica role, leaves open sessions with what was true
// before.
void check_triggers(Session &session, Findings &findings) {
    const pqxx::result off =
        ask(session, "SELECT string_agg(format('%s on %s', tgname, tgrelid::regclass), ', ' ORDER "
                     "BY tgrelid::regclass::text), string_agg(format('ALTER TABLE %s ENABLE ALWAYS "
                     "TRIGGER %I', tgrelid::regclass, tgname), '; ' ORDER BY "
                     "tgrelid::regclass::text) FROM pg_trigger JOIN pg_class ON pg_class.oid = "
                     "tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid WHERE relnamespace = "
                     "'once'::regnamespace AND pronamespace = 'once'::regnamespace AND NOT "
                     "tgisinternal AND tgenabled <> 'A'");
    if (off[0][0].is_null())
        findings.ok(kArea, "the triggers of schema \"once\" fire in every session");
    else
        findings.error(ExitCode::refused, kArea,
                       "triggers of schema \"once\" do not fire in every session: " +
                           off[0][0].as<std::string>(),
                       off[0][1].as<std::string>() + "; then end the sessions that are open");
}

std::int64_t max_event_bytes(Session &session) {
    const std::string bytes =
        ask_text(session, "SELECT pg_size_bytes(current_setting('once.max_event_bytes', true))");
    return bytes.empty() ? 921600 : std::stoll(bytes);
}

// Topics with settings of their own, those of parked events, and those of the last events of each
// lane.
void collect_topics(Session &session, Facts &facts) {
    std::string sql = "SELECT topic FROM once.dead_letter";
    for (const LaneFacts &lane : facts.lanes)
        sql += " UNION SELECT topic FROM (SELECT topic FROM once.event_" +
               std::to_string(lane.lane) + " ORDER BY seq DESC LIMIT " + kSampledEvents + ") last" +
               std::to_string(lane.lane);
    const std::int64_t most = max_event_bytes(session);
    for (const auto &row : ask(session, sql))
        facts.topics[row[0].as<std::string>()] = most;
    if (attempt(session, "SELECT topic, max_bytes FROM once.topics LIMIT 0"))
        return;
    for (const auto &row : ask(session, "SELECT topic, max_bytes FROM once.topics"))
        facts.topics[row[0].as<std::string>()] =
            row[1].is_null() ? most : row[1].as<std::int64_t>();
}

// The relay's report carries {"partitions": {"orders": 4}} of the topics it has shipped to.
void collect_partitions(Session &session, Facts &facts) {
    for (const LaneFacts &lane : facts.lanes) {
        const std::string text = ask_text(
            session, "SELECT report #> '{info,partitions}' FROM once.identity($1)", lane.lane);
        const auto counts = nlohmann::json::parse(text, nullptr, false);
        if (!counts.is_object())
            continue;
        for (const auto &[topic, count] : counts.items())
            if (count.is_number_integer())
                facts.partitions[topic] = count.get<int>();
    }
}

} // namespace

void check_outbox(const Options &options, Findings &findings, Facts &facts) {
    try {
        const auto session = postgres::open_session(options.database);
        if (!check_extension(*session, findings))
            return;
        const std::size_t before = findings.all().size();
        check_privileges(*session, findings);
        for (std::size_t i = before; i < findings.all().size(); ++i)
            if (findings.all()[i].severity == Severity::error)
                return; // what follows would only fail for the same reason
        check_lanes(options, *session, findings, facts);
        check_replication(*session, findings);
        check_triggers(*session, findings);
        collect_topics(*session, facts);
        collect_partitions(*session, facts);
    } catch (const DatabaseError &failure) {
        findings.error(ExitCode::database, kArea, std::string("could not ask: ") + failure.what(),
                       "see the server's log");
    }
}

} // namespace once::checks
