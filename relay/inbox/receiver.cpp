#include "relay/inbox/receiver.hpp"

#include "relay/postgres/protocol.hpp"
#include "relay/process/crash_point.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/inbox/arrays.hpp"
#include "relay/process/log.hpp"
#include "relay/options.hpp"

#include <algorithm>

namespace once::inbox {
namespace {

// Whatever defaults a handler has left in the session.
constexpr const char *kBegin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

// once.message[] of the columns in parameters $first and up.
std::string messages(int first) {
    constexpr const char *types[] = {"text",  "int4", "int8", "text", "bytea",
                                     "jsonb", "text", "text", "int8", "timestamptz"};
    std::string arrays;
    for (const char *type : types)
        arrays += (arrays.empty() ? "$" : ", $") + std::to_string(first++) + "::" + type + "[]";
    return "once.inbox_messages(" + arrays + ")";
}

[[noreturn]] void refuse_handler(const std::string &why, const std::string &detail,
                                 const std::string &signature) {
    throw Refusal(
        ExitCode::configuration, why, detail,
        "The handler is a function of this signature, which the relay's role may execute: " +
            signature + ".");
}

// `column`: the oldest one, the newest behind it.
void require_protocol(const Rows &found, int column) {
    postgres::require_protocol(
        {static_cast<int>(found.number(0, column)), static_cast<int>(found.number(0, column + 1))});
}

} // namespace

Receiver::Receiver(Session &open_session, const InboxOptions &inbox_options)
    : session_(open_session), options_(inbox_options) {}

std::string Receiver::handler_signature() const {
    return options_.handler + (options_.per_message ? "(once.message)" : "(once.message[])");
}

void Receiver::check() {
    try {
        const Rows found = session_.execute(
            "SELECT oldest, newest, pg_catalog.pg_is_in_recovery() FROM once.protocol()");
        require_protocol(found, 0);
        if (found.truth(0, 2))
            throw Refusal(ExitCode::database, "the server is a standby",
                          "Messages are applied with their effects on a primary.",
                          "Point the option \"database\" to the primary.");
    } catch (const SqlError &error) {
        if (is_transient(error.sqlstate))
            throw SessionLost(error.what());
        if (error.sqlstate == "42501")
            throw Refusal(ExitCode::database, std::string("missing privilege: ") + error.what(), {},
                          "Give the relay's role its rights: SELECT once.grant_consumer('role').");
        throw Refusal(ExitCode::mismatch,
                      std::string("extension \"pg_once\" is missing or of another version: ") +
                          error.what(),
                      {}, "CREATE EXTENSION pg_once in the receiving database.");
    }
    if (options_.store)
        return;
    const std::string signature = handler_signature();
    try {
        const Rows found = session_.execute(
            "SELECT pg_catalog.format('%I.%I', n.nspname, p.proname), p.prokind = 'f',"
            " pg_catalog.has_function_privilege(p.oid, 'EXECUTE') AND"
            " pg_catalog.has_schema_privilege(n.oid, 'USAGE'), p.provolatile = 'v'"
            " FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
            " WHERE p.oid = pg_catalog.to_regprocedure($1)",
            {signature});
        if (found.count() == 0)
            refuse_handler("handler " + signature + " does not exist", {}, signature);
        if (!found.truth(0, 1))
            refuse_handler("handler " + signature + " is not a function", {}, signature);
        if (!found.truth(0, 2))
            refuse_handler("handler " + signature + " may not be executed by the relay's role", {},
                           signature);
        if (!found.truth(0, 3))
            refuse_handler("handler " + signature + " is not volatile",
                           "PostgreSQL need not call a function that says it has no effect.",
                           signature);
        handler_ = found.text(0, 0);
    } catch (const SqlError &error) {
        if (is_transient(error.sqlstate))
            throw SessionLost(error.what());
        refuse_handler("could not look for handler " + signature + ": " + error.what(), {},
                       signature);
    }
}

std::string Receiver::database_identity() {
    const Rows found = session_.execute(
        "SELECT pg_catalog.concat(c.system_identifier, '.', d.oid) FROM "
        "pg_catalog.pg_control_system() c,"
        " pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()");
    return found.text(0, 0);
}

std::vector<Claim> Receiver::claim(const std::vector<TopicPartition> &places,
                                   const kafka::TopicIds &ids) {
    Array topics(ElementType::text), partitions(ElementType::int4), known(ElementType::text);
    std::vector<Claim> all;
    for (const TopicPartition &place : places) {
        topics.add_bytes(place.topic);
        partitions.add_int(place.partition);
        const auto found = ids.find(place.topic);
        const std::string id = found == ids.end() ? "" : found->second;
        known.add(id.empty() ? std::nullopt : std::optional<std::string_view>(id));
        all.push_back({.place = place, .next = {}, .topic_id = id, .name = {}});
    }
    const Rows rows = session_.execute_prepared(
        "claim",
        "SELECT c.fence, c.next, c.name FROM unnest($2::text[], $3::int4[], $4::text[])"
        " WITH ORDINALITY AS p(topic, part, id, nr),"
        " LATERAL once.offset_claim_topic($1::text, p.topic, p.part, p.id) c ORDER BY nr",
        {options_.group, topics, partitions, known});
    std::vector<Claim> claims;
    for (int row = 0; row < rows.count(); ++row) {
        Claim &claim = all[static_cast<std::size_t>(row)];
        if (rows.null(row, 0)) {
            log::warning("inbox_topic_id_late", {{"consumer", options_.consumer},
                                                 {"partition", to_string(claim.place)},
                                                 {"topic_id", claim.topic_id}});
            continue;
        }
        claim.fence = rows.number(row, 0);
        if (!rows.null(row, 1))
            claim.next = rows.number(row, 1);
        claim.name = rows.text(row, 2);
        claims.push_back(std::move(claim));
    }
    return claims;
}

std::optional<std::int64_t>
Receiver::begin(const TopicPartition &place,
                const std::map<TopicPartition, std::int64_t, PlaceOrder> &offsets) {
    Array partitions(ElementType::int4), starts(ElementType::int8);
    for (const auto &[other, offset] : offsets) {
        partitions.add_int(other.partition);
        starts.add_int(offset);
    }
    const Rows rows = session_.execute_prepared(
        "begin", "SELECT once.offset_begin($1::text, $2::text, $3::int4, $4::int4[], $5::int8[])",
        {options_.group, place.topic, std::to_string(place.partition), partitions, starts});
    return rows.null(0, 0) ? std::nullopt : std::optional(rows.number(0, 0));
}

bool Receiver::skip_to(const TopicPartition &place, const Partition &partition,
                       std::int64_t offset) {
    const Rows rows =
        session_.execute_prepared("skip",
                                  "SELECT verdict OPERATOR(pg_catalog.<>) 'fenced' FROM "
                                  "once.accept_offset($1::text, $2::text, $3::int4, $4::int8,"
                                  " $5::int8, $6::int8)",
                                  {options_.group, place.topic, std::to_string(place.partition),
                                   std::to_string(partition.next), std::to_string(offset - 1),
                                   std::to_string(partition.fence)});
    return rows.truth(0, 0);
}

Applied Receiver::apply(const Part &part, const Assignment &assignment) {
    Applied applied;
    session_.execute(kBegin);
    Left left = pass_fence(part.entries, assignment, applied);
    crash_point(CrashPoint::inbox_after_fence);
    // What was encoded ahead is of use only while nothing has fallen out.
    const auto whole = [&] { return part.whole != nullptr && left.size() == part.entries.size(); };
    bool in_handler = false;
    try {
        drop_known(left, whole() ? &part.whole->ids : nullptr, applied);
        crash_point(CrashPoint::inbox_after_dedup);
        if (!options_.store)
            set_aside_held(left, assignment, applied);
        MessageColumns again;
        if (!whole())
            for (const Entry *entry : left)
                again.add(*entry);
        MessageColumns &columns = whole() ? part.whole->columns : again;
        if (options_.store) {
            store(columns, left.size(), applied);
        } else if (!left.empty()) {
            in_handler = true;
            call_handler(columns);
            applied.fresh += left.size();
        }
        for (const Entry *entry : left)
            applied.bytes += entry->message.bytes();
        crash_point(CrashPoint::inbox_before_commit);
        session_.commit();
    } catch (const SqlError &error) {
        session_.rollback();
        // A function of ours that is not there, or may not be called: no message is to blame.
        if (!in_handler && (error.sqlstate == "42501" || error.sqlstate == "42883"))
            throw;
        throw MessageRefused(error.sqlstate, error.what());
    }
    crash_point(CrashPoint::inbox_after_commit);
    return applied;
}

Applied Receiver::park(const Entry &entry, const Assignment &assignment, const std::string &error) {
    Applied applied;
    session_.execute(kBegin);
    Left left = pass_fence({&entry, 1}, assignment, applied);
    // Its id is remembered now: it is redriven without asking again. An id that cannot be
    // remembered may be why it is here.
    session_.execute("SAVEPOINT id");
    try {
        drop_known(left, nullptr, applied);
    } catch (const SqlError &refused) {
        if (is_transient(refused.sqlstate))
            throw;
        session_.execute("ROLLBACK TO SAVEPOINT id");
    }
    for (const Entry *one : left)
        applied.parked += put_aside(*one, error);
    crash_point(CrashPoint::inbox_before_park);
    session_.commit();
    crash_point(CrashPoint::inbox_after_park);
    return applied;
}

// One accept_offset per partition of the part, from the offset we believe to be next to the last
// one in the part: what is missing between them does not exist (compaction, transaction markers).
Receiver::Left Receiver::pass_fence(std::span<const Entry> part, const Assignment &assignment,
                                    Applied &applied) {
    std::map<TopicPartition, std::int64_t, PlaceOrder> last;
    for (const auto &[message, identity] : part) {
        auto known = last.find(TopicPartitionView{message.topic, message.partition});
        if (known == last.end())
            known = last.emplace(TopicPartition{std::string(message.topic), message.partition}, 0)
                        .first;
        known->second = message.offset;
    }
    Array topics(ElementType::text), partitions(ElementType::int4), firsts(ElementType::int8),
        lasts(ElementType::int8), fences(ElementType::int8);
    for (const auto &[place, offset] : last) {
        const Partition &partition = assignment.at(place);
        topics.add_bytes(place.topic);
        partitions.add_int(place.partition);
        firsts.add_int(partition.next);
        lasts.add_int(offset);
        fences.add_int(partition.fence);
    }
    const Rows rows = session_.execute_prepared(
        "fence",
        "SELECT o.verdict, o.next, v.oldest, v.newest FROM once.protocol() v, unnest($2::text[], "
        "$3::int4[], $4::int8[],"
        " $5::int8[], $6::int8[]) WITH ORDINALITY AS p(topic, part, first, last, fence, nr),"
        " LATERAL once.accept_offset($1::text, p.topic, p.part, p.first, p.last, p.fence) o"
        " ORDER BY nr",
        {options_.group, topics, partitions, firsts, lasts, fences});
    std::map<TopicPartition, std::int64_t, PlaceOrder> from;
    if (rows.count() > 0) // before anything has an effect: an update may have come meanwhile
        require_protocol(rows, 2);
    int row = 0;
    for (const auto &[place, offset] : last) {
        const std::string verdict = rows.text(row, 0);
        if (verdict == "fenced") {
            applied.fenced.push_back(place);
        } else {
            from[place] = rows.number(row, 1);
            applied.next[place] = std::max(rows.number(row, 1), offset + 1);
        }
        ++row;
    }
    Left left;
    left.reserve(part.size());
    for (const Entry &entry : part) {
        const auto start =
            from.find(TopicPartitionView{entry.message.topic, entry.message.partition});
        if (start == from.end())
            continue;
        if (entry.message.offset < start->second)
            ++applied.duplicates;
        else
            left.push_back(&entry);
    }
    return left;
}

// `encoded`: the ids of exactly what is left, or null.
void Receiver::drop_known(Left &left, IdColumns *encoded, Applied &applied) {
    IdColumns again;
    if (encoded == nullptr)
        for (std::size_t i = 0; i < left.size(); ++i)
            again.add(*left[i], i);
    IdColumns &columns = encoded != nullptr ? *encoded : again;
    if (columns.empty())
        return;
    const std::vector<Parameter> parameters{options_.consumer, columns.ids(), columns.sent()};
    const Rows rows =
        columns.only_uuids() // they have a time in them
            ? session_.execute_prepared("dedup_uuid",
                                        "SELECT ordinal, verdict FROM once.accept_many_uuid("
                                        "$1::text, $2::uuid[], $3::timestamptz[]) "
                                        "WHERE verdict OPERATOR(pg_catalog.<>) 'new'",
                                        parameters)
            : session_.execute_prepared("dedup_text",
                                        "SELECT ordinal, verdict FROM once.accept_many("
                                        "$1::text, $2::text[], $3::timestamptz[]) "
                                        "WHERE verdict OPERATOR(pg_catalog.<>) 'new'",
                                        parameters);
    for (int row = 0; row < rows.count(); ++row) {
        left[columns.number_of(static_cast<std::size_t>(rows.number(row, 0)))] = nullptr;
        ++(rows.text(row, 1) == "too_old" ? applied.too_old : applied.duplicates);
    }
    std::erase(left, nullptr);
}

// Order per key: what follows a parked message waits behind it.
void Receiver::set_aside_held(Left &left, const Assignment &assignment, Applied &applied) {
    std::erase_if(left, [&](const Entry *entry) {
        const Message &message = entry->message;
        const Partition &partition =
            assignment.find(TopicPartitionView{message.topic, message.partition})->second;
        if (!message.key || partition.held_keys.empty() ||
            !partition.held_keys.contains(as_text(*message.key)))
            return false;
        applied.parked += put_aside(*entry, std::nullopt);
        return true;
    });
}

void Receiver::call_handler(MessageColumns &columns) {
    // In FROM and without output columns: whatever the function returns, nothing is sent.
    const std::string call = options_.per_message
                                 ? "SELECT FROM pg_catalog.unnest(" + messages(1) +
                                       ") AS message, LATERAL " + handler_ + "(message)"
                                 : "SELECT FROM " + handler_ + "(" + messages(1) + ")";
    session_.execute_prepared("handle", call, columns.parameters());
    crash_point(CrashPoint::inbox_after_handler);
}

void Receiver::store(MessageColumns &columns, std::size_t count, Applied &applied) {
    if (count == 0)
        return;
    std::vector<Parameter> parameters = columns.parameters();
    parameters.emplace_back(options_.consumer);
    const Rows rows = session_.execute_prepared(
        "store", "SELECT once.inbox_store($11::text, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        parameters);
    const auto stored = static_cast<std::uint64_t>(rows.number(0, 0));
    applied.fresh += stored;
    applied.duplicates += count - stored;
    crash_point(CrashPoint::inbox_after_handler);
}

// Whether it was not there yet.
bool Receiver::put_aside(const Entry &entry, const std::optional<std::string> &error) {
    MessageColumns columns;
    columns.add(entry);
    Array errors(ElementType::text);
    errors.add(error);
    std::vector<Parameter> parameters = columns.parameters();
    parameters.emplace_back(options_.consumer);
    parameters.emplace_back(errors);
    const std::string attempts = std::to_string(error ? options_.max_attempts : 0);
    parameters.emplace_back(attempts);
    return session_
        .execute_prepared("park",
                          "SELECT once.inbox_park($11::text, (" + messages(1) +
                              ")[1], ($12::text[])[1], $13::int4)",
                          parameters)
        .truth(0, 0);
}

// Under another policy than hold_key a parked message holds nothing, but one that waits for its
// turn still does: what follows must not pass it.
std::set<std::string> Receiver::held_keys(const TopicPartition &place) {
    const Rows rows = session_.execute_prepared(
        "held",
        "SELECT DISTINCT key FROM once.inbox WHERE consumer = $1::text AND topic = $2::text"
        " AND \"partition\" = $3::int4 AND key IS NOT NULL AND (state = 'ready' OR $4::bool)",
        {options_.consumer, place.topic, std::to_string(place.partition),
         std::string(options_.on_poison == PoisonPolicy::hold_key ? "true" : "false")});
    std::set<std::string> keys;
    for (int row = 0; row < rows.count(); ++row)
        keys.insert(rows.text(row, 0));
    return keys;
}

std::optional<bool> Receiver::redrive_one() {
    session_.execute(kBegin);
    const Rows taken = session_.execute_prepared(
        "redrive_take", "SELECT id FROM once.inbox_take($1::text, 1)", {options_.consumer});
    if (taken.count() == 0) {
        session_.rollback();
        return std::nullopt;
    }
    const std::string id = taken.text(0, 0);
    const std::string error = redrive_error(id);
    if (error.empty())
        session_.execute_prepared("redrive_done",
                                  "SELECT once.inbox_done($1::text, ARRAY[$2::text])",
                                  {options_.consumer, id});
    else
        session_.execute_prepared("redrive_fail",
                                  "SELECT once.inbox_fail($1::text, $2::text, $3::text)",
                                  {options_.consumer, id, error});
    crash_point(CrashPoint::inbox_before_redrive_commit);
    session_.commit();
    return error.empty();
}

// Why the handler does not take a message that was put aside; empty = it took it.
std::string Receiver::redrive_error(const std::string &id) {
    const std::string message =
        "SELECT ROW(m.topic, m.\"partition\", m.log_offset, m.key, m.payload, m.headers, m.id,"
        " m.source, m.pos, m.sent_at)::once.message AS message FROM once.inbox m"
        " WHERE consumer = $1::text AND id = $2::text";
    session_.execute("SAVEPOINT handler");
    try {
        session_.execute_prepared("redrive_handle",
                                  options_.per_message
                                      ? "SELECT FROM (" + message + " OFFSET 0) AS q, LATERAL " +
                                            handler_ + "(q.message)"
                                      : "SELECT FROM " + handler_ + "(ARRAY(" + message + "))",
                                  {options_.consumer, id});
    } catch (const SqlError &refused) {
        if (is_transient(refused.sqlstate))
            throw;
        session_.execute("ROLLBACK TO SAVEPOINT handler");
        check(); // a handler that is gone is not the message's fault
        return std::string(refused.what()) + " (SQLSTATE " + refused.sqlstate + ")";
    }
    return {};
}

} // namespace once::inbox
