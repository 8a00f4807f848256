#include "relay/outbox/postgres_queries.hpp"

#include "relay/outbox/difference.hpp"
#include "relay/outbox/event.hpp"
#include "relay/postgres/copy_stream.hpp"
#include "relay/process/crash_point.hpp"

#include <nlohmann/json.hpp>

#include <sstream>

namespace once::outbox::queries {
namespace {

using postgres::Transaction;
using std::chrono::milliseconds;

constexpr int kDeliveryEvents = 200; // of once.scheduled in one transaction
constexpr int kSweepSteps = 8;       // at a stretch; a handover takes four
// Of a statement that goes through whole tables; a stop ends it earlier.
constexpr milliseconds kLongPatience{3600000};

std::optional<std::string> text_or_none(const pqxx::row &row, int column) {
    if (row[column].is_null())
        return std::nullopt;
    return row[column].as<std::string>();
}

std::vector<std::string> texts(const std::vector<Uuid> &ids) {
    std::vector<std::string> all;
    for (const Uuid &id : ids)
        all.push_back(to_text(id));
    return all;
}

// One transaction whose statements may take long, here and at the server.
class LongTransaction {
  public:
    explicit LongTransaction(Session &session)
        : session_(session), patience_(session.patience()), transaction_(session) {
        transaction_.rows("SET LOCAL statement_timeout = " + std::to_string(kLongPatience.count()));
        session_.be_patient(kLongPatience + patience_);
    }
    ~LongTransaction() { session_.be_patient(patience_); }
    LongTransaction(const LongTransaction &) = delete;
    LongTransaction &operator=(const LongTransaction &) = delete;
    Transaction *operator->() { return &transaction_; }

  private:
    Session &session_;
    milliseconds patience_;
    Transaction transaction_;
};

// None: of a format that is not ours to read.
std::optional<Position> reported_position(const nlohmann::json &report) {
    try {
        return decode_position(report.value("position", nlohmann::json()).dump());
    } catch (const UnreadablePosition &) {
        return std::nullopt;
    }
}

void read_report(const std::string &text, Identity &identity) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object())
        return;
    const auto &info = json.contains("info") ? json["info"] : json;
    identity.reported_empty = info.is_object() && info.value("empty", false);
    identity.reported = reported_position(json);
}

} // namespace

std::vector<int> lanes(Session &session) {
    std::vector<int> all;
    for (const auto &row : session.rows("SELECT lane FROM once.lane ORDER BY lane"))
        all.push_back(row[0].as<int>());
    return all;
}

Claim lane_lock(Session &session, int lane) {
    const auto row = session.row(
        "SELECT acquired, holder, holder_state, extract(epoch FROM held_for)::float8, evicted "
        "FROM once.lane_lock($1)",
        lane);
    return {row[0].as<bool>(), row[1].as<int>(0), text_or_none(row, 2).value_or(""),
            row[3].as<double>(0), row[4].as<bool>(false)};
}

Identity identity(Session &session, int lane) {
    const auto row = session.row(
        "SELECT i.incarnation, i.armed, i.cluster_id, i.mode, i.redrive_floor, "
        "i.database_oid, i.system_identifier::text, i.timeline, i.in_recovery, "
        "i.offset_hint, i.report::text, "
        "coalesce((SELECT extract(epoch FROM clock_timestamp() - r.reported_at) FROM "
        "once.relay_report r WHERE r.lane = $1), 1e9)::float8, array_to_string(i.replaced, ','), "
        "i.decided_at::text "
        "FROM once.identity($1) i",
        lane);
    Identity identity;
    identity.incarnation = row[0].as<std::string>();
    identity.armed = row[1].as<bool>();
    identity.cluster_id = text_or_none(row, 2);
    identity.mode = text_or_none(row, 3);
    identity.redrive_floor = row[4].as<std::int64_t>(0);
    identity.database_oid = static_cast<std::uint32_t>(row[5].as<std::int64_t>());
    // The function's bigint is signed, the identifier is not.
    identity.system_identifier =
        std::to_string(static_cast<std::uint64_t>(std::stoll(row[6].as<std::string>())));
    identity.timeline = static_cast<std::uint32_t>(row[7].as<std::int64_t>());
    identity.in_recovery = row[8].as<bool>();
    if (!row[9].is_null())
        identity.offset_hint = row[9].as<std::int64_t>();
    if (const auto report = text_or_none(row, 10))
        read_report(*report, identity);
    identity.reported_age_s = row[11].as<double>();
    std::istringstream replaced(text_or_none(row, 12).value_or(""));
    for (std::string id; std::getline(replaced, id, ',');)
        identity.replaced.push_back(id);
    identity.decided_at = text_or_none(row, 13);
    return identity;
}

Verdict history_check(Session &session, int lane, const Position &p) {
    const auto signed_identifier = static_cast<std::int64_t>(std::stoull(p.system_identifier));
    const auto row = session.row(
        "SELECT ok, reason, detail FROM once.history_check($1, $2::uuid, $3::oid, $4::bigint, $5, "
        "$6::pg_lsn, $7::pg_snapshot, $8::bigint, $9::uuid)",
        lane, p.incarnation, p.database_oid, signed_identifier, p.timeline, p.lsn, p.s_now,
        p.last_seq, p.last_id);
    return {row[0].as<bool>(), text_or_none(row, 1).value_or(""),
            text_or_none(row, 2).value_or("")};
}

bool wait(Session &session, int lane, const std::string &before, milliseconds limit) {
    return session.row("SELECT once.wait($1, $2::pg_snapshot, $3)", lane, before, limit.count())[0]
        .as<bool>();
}

int report(Session &session, int lane, const Report &what, milliseconds lock_timeout) {
    crash_point(CrashPoint::before_report);
    Transaction transaction(session);
    transaction.rows("SET LOCAL lock_timeout = " + std::to_string(lock_timeout.count()));
    transaction.rows("SELECT once.report($1, $2::uuid, $3, $4::jsonb, $5, $6::jsonb)", lane,
                     what.incarnation, what.cluster_id, encode(what.progress.position),
                     what.progress.offset, what.info);
    int emptied = 0;
    if (const std::string *passed = what.progress.position.passed(); passed != nullptr) {
        crash_point(CrashPoint::before_trim);
        emptied =
            transaction.row("SELECT once.trim($1, $2::pg_snapshot)", lane, *passed)[0].as<int>(0);
    }
    transaction.commit();
    crash_point(CrashPoint::after_trim);
    return emptied;
}

void park(Session &session, int lane, const std::vector<std::int64_t> &seqs,
          const std::string &error, const std::string &policy, std::int64_t covered) {
    crash_point(CrashPoint::before_park);
    {
        Transaction transaction(session);
        transaction.rows("SELECT once.park($1, seq, $2, $3, $4) FROM (SELECT seq FROM "
                         "unnest($5::bigint[]) AS seq ORDER BY seq) AS refused",
                         lane, error, policy, covered, seqs);
        transaction.commit();
    }
    crash_point(CrashPoint::after_park);
}

std::vector<std::int64_t> parked_seqs(Session &session, int lane, std::int64_t after) {
    std::vector<std::int64_t> seqs;
    for (const auto &row : session.rows("SELECT * FROM once.parked_seqs($1, $2)", lane, after))
        seqs.push_back(row[0].as<std::int64_t>());
    return seqs;
}

std::vector<HeldKey> held_keys(Session &session, int lane, std::int64_t covered) {
    std::vector<HeldKey> keys;
    for (const auto &row :
         session.rows("SELECT topic, encode(key, 'hex'), since FROM once.held_keys($1, $2)", lane,
                      covered)) {
        const auto key = text_or_none(row, 1);
        keys.push_back({row[0].as<std::string>(), key ? bytes_from_hex(*key) : std::nullopt,
                        row[2].as<std::int64_t>()});
    }
    return keys;
}

std::optional<Redrive> stamped_above(Session &session, int lane, std::int64_t above) {
    const auto row = session.row(
        "SELECT min(stamp) FROM once.dead_letter WHERE lane = $1 AND stamp > $2", lane, above);
    if (row[0].is_null())
        return std::nullopt;
    Redrive redrive;
    redrive.number = row[0].as<std::int64_t>();
    redrive.batch.arena = std::make_shared<Arena>();
    // COPY takes no parameters; all of these are numbers.
    postgres::CopyStream stream(
        session, std::string("SELECT ") + kEventColumns + " FROM once.redrive_stamped(" +
                     std::to_string(lane) + ", " + std::to_string(above) +
                     ") WHERE stamp = " + std::to_string(redrive.number) + " ORDER BY seq");
    while (const auto found = stream.next_row()) {
        redrive.batch.events.push_back(
            decode_event(redrive.batch.arena->put(found->data(), found->size())));
        redrive.batch.bytes += redrive.batch.events.back().size();
    }
    return redrive;
}

int stamp_next(Session &session, int lane, const Position &p, ReadSize most) {
    Transaction transaction(session);
    const int stamped =
        transaction
            .row("SELECT once.redrive_next($1, $2, $3::pg_snapshot, $4::pg_snapshot, $5, $6, $7)",
                 lane, p.redrive_no + 1, p.s_prev, p.s_now, p.slice_seq, most.rows, most.bytes)[0]
            .as<int>();
    transaction.commit();
    return stamped;
}

void redrive_refused(Session &session, int lane, std::int64_t seq) {
    crash_point(CrashPoint::before_unstamp);
    {
        Transaction transaction(session);
        transaction.rows("SELECT once.redrive_refused($1, $2)", lane, seq);
        transaction.commit();
    }
    crash_point(CrashPoint::after_unstamp);
}

void redrive_unstamp(Session &session, int lane, const std::vector<Uuid> &ids) {
    Transaction transaction(session);
    transaction.rows("SELECT once.redrive_unstamp($1, $2::uuid[])", lane, texts(ids));
    transaction.commit();
}

std::vector<Uuid> stamped_ids(Session &session, int lane) {
    std::vector<Uuid> ids;
    for (const auto &row : session.rows(
             "SELECT id FROM once.dead_letter WHERE lane = $1 AND stamp IS NOT NULL", lane))
        if (const auto id = uuid_from_text(row[0].as<std::string>()))
            ids.push_back(*id);
    return ids;
}

std::vector<Uuid> missing_ids(Session &session, int lane, const std::vector<Uuid> &ids) {
    LongTransaction transaction(session);
    std::vector<Uuid> missing;
    for (const auto &row :
         transaction->rows("SELECT unnest(once.missing_ids($1, $2::uuid[]))", lane, texts(ids)))
        if (const auto id = uuid_from_text(row[0].as<std::string>()))
            missing.push_back(*id);
    return missing;
}

std::vector<std::string> topics(Session &session, int lane) {
    LongTransaction transaction(session);
    std::vector<std::string> names;
    for (const auto &row : transaction->rows(
             "SELECT topic FROM once.event_" + std::to_string(lane) +
                 " UNION SELECT topic FROM once.dead_letter WHERE lane = $1"
                 // whose events may all be trimmed
                 " UNION SELECT jsonb_object_keys(r.info -> 'partitions') FROM once.relay_report r "
                 "WHERE r.lane = $1",
             lane))
        names.push_back(row[0].as<std::string>());
    return names;
}

// By seq, as the tables have no index on time; good enough for what is at stake.
std::optional<std::int64_t> oldest_ms(Session &session, int lane) {
    for (const auto &row :
         session.rows("SELECT floor(extract(epoch FROM time) * 1000)::bigint FROM once.event_" +
                      std::to_string(lane) + " ORDER BY seq LIMIT 1"))
        return row[0].as<std::int64_t>();
    return std::nullopt;
}

std::int64_t passed_over(Session &session, int lane, const std::string &snapshot) {
    LongTransaction transaction(session);
    return transaction->row("SELECT once.passed_over($1, $2::pg_snapshot)", lane, snapshot)[0]
        .as<std::int64_t>();
}

bool redrive_waiting(Session &session, int lane, std::int64_t covered) {
    return session
        .row("SELECT EXISTS (SELECT FROM once.dead_letter d WHERE d.lane = $1 AND d.wanted AND "
             "d.stamp IS NULL) OR EXISTS (SELECT FROM once.dead_letter d WHERE d.lane = $1 AND "
             "d.stamp > $2)",
             lane, covered)[0]
        .as<bool>();
}

int deliver_due(Session &session) {
    Transaction transaction(session);
    const int moved = transaction.row("SELECT once.deliver_due($1)", kDeliveryEvents)[0].as<int>();
    transaction.commit();
    return moved;
}

// A call does one step of one ring, in a transaction of its own: the next one looks at what runs
// since.
void sweep(Session &session) {
    for (int step = 0; step < kSweepSteps; ++step)
        if (session.rows("SELECT ring, step FROM once.sweep()").empty())
            break;
}

} // namespace once::outbox::queries
