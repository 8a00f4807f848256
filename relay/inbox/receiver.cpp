#include "relay/inbox/receiver.hpp"

#include "relay/inbox/arrays.hpp"
#include "relay/options.hpp"
#include "relay/postgres/protocol.hpp"
#include "relay/process/crash_point.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"

#include <algorithm>

namespace once::inbox {
namespace {

// So long a claim waits for a member that is just storing an offset. One that is at work for longer
// is let work: others of our partitions must not wait for it.
constexpr const char *kClaimWait = "1 s";

// `column`: the oldest one, the newest behind it.
void require_protocol(const Rows &found, int column) {
    postgres::require_protocol(
        {static_cast<int>(found.number(0, column)), static_cast<int>(found.number(0, column + 1))});
}

} // namespace

Receiver::Receiver(const DatabaseOptions &database, const InboxOptions &options,
                   const StopSignal &stop, std::function<int()> beat)
    : database_(database), options_(options), stop_(stop), beat_(std::move(beat)),
      handler_(options) {}

void Receiver::connect() {
    auto opened = std::make_unique<Session>(database_, stop_, beat_);
    handler_.connect(*opened);
    session_ = std::move(opened);
    try {
        check();
    } catch (...) {
        session_.reset();
        throw;
    }
}

void Receiver::rollback() {
    if (session_)
        session_->rollback();
}

// Outside of a transaction of ours the role that a handler has left behind is still there.
Session &Receiver::alone() {
    if (!session_->in_transaction())
        session_->take_back();
    return *session_;
}

void Receiver::check() {
    try {
        const Rows found = alone().execute(
            "SELECT oldest, newest, pg_catalog.pg_is_in_recovery() FROM once.protocol()");
        require_protocol(found, 0);
        if (found.truth(0, 2))
            throw Refusal(ExitCode::database, "the server is a standby",
                          "Messages are applied with their effects on a primary.",
                          "Point the option \"database\" to the primary.");
    } catch (const SqlError &error) {
        const Failure failure = judge(error.sqlstate, During::own_statement);
        if (passes(failure))
            throw SessionLost(error.what());
        if (failure == Failure::rights)
            throw Refusal(ExitCode::database, std::string("missing privilege: ") + error.what(), {},
                          "Give the relay's role its rights: SELECT once.grant_consumer('role').");
        throw Refusal(ExitCode::mismatch,
                      std::string("extension \"pg_once\" is missing or of another version: ") +
                          error.what(),
                      {}, "CREATE EXTENSION pg_once in the receiving database.");
    }
    if (!options_.store)
        handler_.check(*session_);
}

std::string Receiver::identity() {
    const Rows found = alone().execute(
        "SELECT pg_catalog.concat(c.system_identifier, '.', d.oid) FROM "
        "pg_catalog.pg_control_system() c,"
        " pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()");
    return found.text(0, 0);
}

std::vector<LeaseGrant> Receiver::claim(const std::vector<TopicPartition> &places,
                                        const TopicIds &ids) {
    Array topics(ElementType::text), partitions(ElementType::int4), known(ElementType::text);
    std::vector<LeaseGrant> all;
    for (const TopicPartition &place : places) {
        topics.add_bytes(place.topic);
        partitions.add_int(place.partition);
        const auto found = ids.find(place.topic);
        const std::string id = found == ids.end() ? "" : found->second;
        known.add(id.empty() ? std::nullopt : std::optional<std::string_view>(id));
        all.push_back({.place = place, .next = {}, .topic_id = id, .name = {}});
    }
    const Rows rows = alone().execute_prepared(
        "claim",
        "SELECT c.fence, c.next, c.name, c.busy FROM unnest($2::text[], $3::int4[], $4::text[])"
        " WITH ORDINALITY AS p(topic, part, id, nr), LATERAL once.offset_claim_topic($1::text,"
        " p.topic, p.part, p.id, $5::interval) c ORDER BY nr",
        {options_.group, topics, partitions, known, std::string(kClaimWait)});
    std::vector<LeaseGrant> granted;
    for (int row = 0; row < rows.count(); ++row) {
        LeaseGrant &grant = all[static_cast<std::size_t>(row)];
        if (!rows.null(row, 3)) {
            log::info("inbox_partition_busy", {{"consumer", options_.consumer},
                                               {"partition", to_string(grant.place)},
                                               {"process", rows.number(row, 3)}});
            continue;
        }
        if (rows.null(row, 0)) {
            log::warning("inbox_topic_id_late", {{"consumer", options_.consumer},
                                                 {"partition", to_string(grant.place)},
                                                 {"topic_id", grant.topic_id}});
            continue;
        }
        grant.fence = rows.number(row, 0);
        if (!rows.null(row, 1))
            grant.next = rows.number(row, 1);
        grant.name = rows.text(row, 2);
        granted.push_back(std::move(grant));
    }
    return granted;
}

std::optional<std::int64_t> Receiver::begin(const TopicPartition &place, const Offsets &offsets) {
    Array partitions(ElementType::int4), starts(ElementType::int8);
    for (const auto &[other, offset] : offsets) {
        partitions.add_int(other.partition);
        starts.add_int(offset);
    }
    const Rows rows = alone().execute_prepared(
        "begin", "SELECT once.offset_begin($1::text, $2::text, $3::int4, $4::int4[], $5::int8[])",
        {options_.group, place.topic, std::to_string(place.partition), partitions, starts});
    return rows.null(0, 0) ? std::nullopt : std::optional(rows.number(0, 0));
}

bool Receiver::skip_to(const TopicPartition &place, const PartitionLease &lease,
                       std::int64_t offset) {
    const Rows rows = alone().execute_prepared(
        "skip",
        "SELECT verdict OPERATOR(pg_catalog.<>) 'fenced' FROM "
        "once.accept_offset($1::text, $2::text, $3::int4, $4::int8,"
        " $5::int8, $6::int8)",
        {options_.group, place.topic, std::to_string(place.partition), std::to_string(lease.next),
         std::to_string(offset - 1), std::to_string(lease.fence)});
    return rows.truth(0, 0);
}

Applied Receiver::apply(const Part &part, const Assignment &assignment) {
    Applied applied;
    session_->begin();
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
            handler_.call(*session_, columns);
            applied.fresh += left.size();
        }
        for (const Entry *entry : left)
            applied.bytes += entry->message.bytes();
        crash_point(CrashPoint::inbox_before_commit);
        session_->commit();
    } catch (const SqlError &error) {
        session_->rollback();
        const Failure failure =
            judge(error.sqlstate, in_handler ? During::handler : During::own_statement);
        // A statement of ours that no message is to blame for.
        if (!in_handler && failure != Failure::message && failure != Failure::conflict)
            throw;
        throw MessageRefused(error, failure);
    }
    crash_point(CrashPoint::inbox_after_commit);
    return applied;
}

Applied Receiver::park(const Entry &entry, const Assignment &assignment, const PutAside &aside) {
    Applied applied;
    session_->begin();
    Left left = pass_fence({&entry, 1}, assignment, applied);
    // Its id is remembered now: it is redriven without asking again. An id that cannot be
    // remembered may be why it is here.
    session_->execute("SAVEPOINT id");
    try {
        drop_known(left, nullptr, applied);
    } catch (const SqlError &refused) {
        if (judge(refused.sqlstate, During::own_statement) != Failure::message)
            throw;
        session_->execute("ROLLBACK TO SAVEPOINT id");
    }
    for (const Entry *one : left)
        applied.parked += put_aside(*one, &aside);
    crash_point(CrashPoint::inbox_before_park);
    session_->commit();
    crash_point(CrashPoint::inbox_after_park);
    return applied;
}

// One accept_offset per partition of the part, from the offset we believe to be next to the last
// one in the part: what is missing between them does not exist (compaction, transaction markers).
Receiver::Left Receiver::pass_fence(std::span<const Entry> part, const Assignment &assignment,
                                    Applied &applied) {
    std::map<TopicPartition, std::int64_t, TopicPartitionOrder> last;
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
        const PartitionLease &lease = assignment.at(place);
        topics.add_bytes(place.topic);
        partitions.add_int(place.partition);
        firsts.add_int(lease.next);
        lasts.add_int(offset);
        fences.add_int(lease.fence);
    }
    const Rows rows = session_->execute_prepared(
        "fence",
        "SELECT o.verdict, o.next, v.oldest, v.newest FROM once.protocol() v, unnest($2::text[], "
        "$3::int4[], $4::int8[],"
        " $5::int8[], $6::int8[]) WITH ORDINALITY AS p(topic, part, first, last, fence, nr),"
        " LATERAL once.accept_offset($1::text, p.topic, p.part, p.first, p.last, p.fence) o"
        " ORDER BY nr",
        {options_.group, topics, partitions, firsts, lasts, fences});
    Offsets from;
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
            ? session_->execute_prepared("dedup_uuid",
                                         "SELECT ordinal, verdict FROM once.accept_many_uuid("
                                         "$1::text, $2::uuid[], $3::timestamptz[]) "
                                         "WHERE verdict OPERATOR(pg_catalog.<>) 'new'",
                                         parameters)
            : session_->execute_prepared("dedup_text",
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
        const PartitionLease &lease =
            assignment.find(TopicPartitionView{message.topic, message.partition})->second;
        if (!message.key || lease.held_keys.empty() ||
            !lease.held_keys.contains(as_text(*message.key)))
            return false;
        applied.parked += put_aside(*entry, nullptr);
        return true;
    });
}

void Receiver::store(MessageColumns &columns, std::size_t count, Applied &applied) {
    if (count == 0)
        return;
    std::vector<Parameter> parameters = columns.parameters();
    parameters.emplace_back(options_.consumer);
    const Rows rows = session_->execute_prepared(
        "store", "SELECT once.inbox_store($11::text, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        parameters);
    const auto stored = static_cast<std::uint64_t>(rows.number(0, 0));
    applied.fresh += stored;
    applied.duplicates += count - stored;
    crash_point(CrashPoint::inbox_after_handler);
}

// Whether it was not there yet. Without `aside`: it waits behind one of its key.
bool Receiver::put_aside(const Entry &entry, const PutAside *aside) {
    MessageColumns columns;
    columns.add(entry);
    Array errors(ElementType::text), delays(ElementType::int8);
    errors.add(aside != nullptr ? std::optional(aside->error) : std::nullopt);
    if (aside != nullptr && aside->retry_in_s)
        delays.add_int(*aside->retry_in_s);
    else
        delays.add_null();
    std::vector<Parameter> parameters = columns.parameters();
    parameters.emplace_back(options_.consumer);
    parameters.emplace_back(errors);
    const std::string attempts = std::to_string(aside != nullptr ? aside->attempts : 0);
    parameters.emplace_back(attempts);
    parameters.emplace_back(delays);
    return session_
        ->execute_prepared("park",
                           "SELECT once.inbox_park($11::text, (" + messages_sql(1) +
                               ")[1], ($12::text[])[1], $13::int4, ($14::int8[])[1])",
                           parameters)
        .truth(0, 0);
}

// Under another policy than hold_key a parked message holds nothing, but one that waits for its
// turn still does: what follows must not pass it.
std::set<std::string> Receiver::held_keys(const TopicPartition &place) {
    const Rows rows = alone().execute_prepared(
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
    session_->begin();
    const Rows taken = session_->execute_prepared(
        "redrive_take", "SELECT id, attempts FROM once.inbox_take($1::text, 1)",
        {options_.consumer});
    if (taken.count() == 0) {
        session_->rollback();
        return std::nullopt;
    }
    const std::string id = taken.text(0, 0);
    const std::optional<SqlError> refused = refused_again(id);
    if (!refused)
        session_->execute_prepared("redrive_done",
                                   "SELECT once.inbox_done($1::text, ARRAY[$2::text])",
                                   {options_.consumer, id});
    else
        put_back(id, static_cast<int>(taken.number(0, 1)), *refused);
    crash_point(CrashPoint::inbox_before_redrive_commit);
    session_->commit();
    return !refused;
}

// Why the handler does not take a message that was put aside; nothing: it took it.
std::optional<SqlError> Receiver::refused_again(const std::string &id) {
    session_->execute("SAVEPOINT handler");
    try {
        handler_.call_parked(*session_, id);
    } catch (const SqlError &refused) {
        if (passes(judge(refused.sqlstate, During::handler)))
            throw;
        session_->execute("ROLLBACK TO SAVEPOINT handler");
        check(); // a handler that is gone is not the message's fault
        return refused;
    }
    // Its role would lack the rights for what follows.
    session_->take_back();
    return std::nullopt;
}

void Receiver::put_back(const std::string &id, int attempts, const SqlError &refused) {
    const std::vector<int> &delays = options_.retry.delays_s(refused.sqlstate);
    if (delays.empty()) {
        session_->execute_prepared("redrive_fail",
                                   "SELECT once.inbox_fail($1::text, $2::text, $3::text)",
                                   {options_.consumer, id, text_of(refused)});
        return;
    }
    const auto nth = static_cast<std::size_t>(std::max(attempts, 0));
    Array delay(ElementType::int8);
    if (nth < delays.size())
        delay.add_int(delays[nth]);
    else
        delay.add_null(); // the last one is over: parked
    const std::string error = text_of(refused);
    session_->execute_prepared(
        "redrive_again", "SELECT once.inbox_again($1::text, $2::text, $3::text, ($4::int8[])[1])",
        {options_.consumer, id, error, delay});
}

} // namespace once::inbox
