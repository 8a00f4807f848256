// What the source asks of the extension and tells it: one function per statement, all in the lane's
// session.
#include "relay/outbox/postgres_source.hpp"

#include "relay/process/crash_point.hpp"
#include "relay/postgres/copy_stream.hpp"

#include <nlohmann/json.hpp>

#include <sstream>
#include <unistd.h>

namespace once::outbox {
namespace {

using postgres::Connection;
using postgres::exec_row;
using postgres::guarded;
using postgres::SessionLost;
using std::chrono::milliseconds;

constexpr int kDeliveryEvents = 200;        // of once.scheduled in one transaction
constexpr milliseconds kDeliveryPause{500}; // how late an event with deliver_at may be
constexpr milliseconds kSweepPause{15000};
constexpr int kSweepSteps = 8; // a handover takes four

std::string host_name() {
    char name[256] = "";
    ::gethostname(name, sizeof name - 1);
    return name;
}

template <typename Row> std::optional<std::string> text_or_none(const Row &row, int column) {
    if (row[column].is_null())
        return std::nullopt;
    return row[column].template as<std::string>();
}

std::string uuid_array(const std::vector<Uuid> &ids) {
    std::string text = "'{";
    for (const Uuid &id : ids)
        text += (text.size() == 2 ? "" : ",") + to_text(id);
    return text + "}'::uuid[]";
}

std::string bigint_array(const std::vector<std::int64_t> &numbers) {
    std::string text = "'{";
    for (const std::int64_t number : numbers)
        text += (text.size() == 2 ? "" : ",") + std::to_string(number);
    return text + "}'::bigint[]";
}

// Goes through whole tables, when an operator has a decision to make.
void take_time(pqxx::work &work) {
    work.exec("SET LOCAL statement_timeout = 0");
}

// None: of a format that is not ours to read.
std::optional<Position> reported_position(const nlohmann::json &report) {
    try {
        return decode_position(report.value("position", nlohmann::json()).dump());
    } catch (const UnreadablePosition &) {
        return std::nullopt;
    }
}

} // namespace

void PostgresSource::write_report(Connection &db, const Progressed &what) {
    last_report_ = Clock::now();
    nlohmann::json info{{"host", host_name()},     {"pid", ::getpid()},
                        {"version", ONCE_VERSION}, {"state", to_string(metrics_.state)},
                        {"empty", what.idle},      {"partitions", metrics_.partitions.all()}};
    crash_point(CrashPoint::before_report);
    pqxx::work work(db.pqxx());
    postgres::check_protocol(work);
    work.exec("SELECT once.report(" + lane_text_ + ", " + work.quote(incarnation_) + "::uuid, " +
              work.quote(cluster_id_) + ", " + work.quote(encode(what.position)) + "::jsonb, " +
              std::to_string(what.offset) + ", " + work.quote(info.dump()) + "::jsonb)");
    if (const std::string *passed = what.position.passed(); passed != nullptr) {
        crash_point(CrashPoint::before_trim);
        const int truncated = exec_row(work, "SELECT once.trim(" + lane_text_ + ", " +
                                                 work.quote(*passed) + "::pg_snapshot)")[0]
                                  .as<int>(0);
        metrics_.trimmed += static_cast<std::uint64_t>(truncated);
    }
    work.commit();
    crash_point(CrashPoint::after_trim);
}

Claim PostgresSource::claim() {
    {
        const std::lock_guard lock(mutex_);
        lost_.clear();
    }
    // A task of its own kind: it may run without a session.
    std::packaged_task<Claim()> task([this] {
        try {
            if (!connection_)
                connection_ = postgres::connect(options_.database);
            return guarded([&] {
                pqxx::nontransaction work(session().pqxx());
                postgres::check_protocol(work); // a standby may have waited for weeks
                const auto row = exec_row(
                    work,
                    "SELECT acquired, holder, holder_state, extract(epoch FROM held_for)::float8, "
                    "evicted FROM once.lane_lock(" +
                        lane_text_ + ")");
                return Claim{row[0].as<bool>(), row[1].is_null() ? 0 : row[1].as<int>(),
                             text_or_none(row, 2).value_or(""),
                             row[3].is_null() ? 0 : row[3].as<double>(),
                             !row[4].is_null() && row[4].as<bool>()};
            });
        } catch (const SessionLost &e) {
            connection_.reset();
            throw SourceLost(e.what());
        }
    });
    auto answer = task.get_future();
    {
        const std::lock_guard lock(mutex_);
        tasks_.emplace_back([&task] { task(); });
    }
    wake_thread_.notify_one();
    return answer.get();
}

Identity PostgresSource::identity() {
    return in_session([&](Connection &db) {
        pqxx::nontransaction work(db.pqxx());
        const auto row = exec_row(
            work, "SELECT i.incarnation, i.armed, i.cluster_id, i.mode, i.redrive_floor, "
                  "i.database_oid, i.system_identifier::text, i.timeline, i.in_recovery, "
                  "i.offset_hint, i.report::text, "
                  "coalesce((SELECT extract(epoch FROM clock_timestamp() - r.reported_at) FROM "
                  "once.relay_report r WHERE r.lane = " +
                      lane_text_ +
                      "), 1e9)::float8, array_to_string(i.replaced, ',') "
                      "FROM once.identity(" +
                      lane_text_ + ") i");
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
        if (const auto report = text_or_none(row, 10)) {
            const auto json = nlohmann::json::parse(*report, nullptr, false);
            if (json.is_object()) {
                const auto &info = json.contains("info") ? json["info"] : json;
                identity.reported_empty = info.is_object() && info.value("empty", false);
                identity.reported = reported_position(json);
            }
        }
        std::istringstream replaced(text_or_none(row, 12).value_or(""));
        for (std::string id; std::getline(replaced, id, ',');)
            identity.replaced.push_back(id);
        identity.reported_age_s = row[11].as<double>();
        const std::lock_guard lock(mutex_);
        incarnation_ = identity.incarnation;
        return identity;
    });
}

Verdict PostgresSource::check_history(const Position &p) {
    return in_session([&](Connection &db) {
        pqxx::nontransaction work(db.pqxx());
        const auto signed_identifier = static_cast<std::int64_t>(std::stoull(p.system_identifier));
        const auto row = exec_row(
            work, "SELECT ok, reason, detail FROM once.history_check(" + lane_text_ + ", " +
                      work.quote(p.incarnation) + "::uuid, " + std::to_string(p.database_oid) +
                      "::oid, " + std::to_string(signed_identifier) + "::bigint, " +
                      std::to_string(p.timeline) + ", " + work.quote(p.lsn) + "::pg_lsn, " +
                      work.quote(p.s_now) + "::pg_snapshot, " +
                      (p.last_seq ? std::to_string(*p.last_seq) : "NULL") + "::bigint, " +
                      (p.last_id ? work.quote(*p.last_id) : "NULL") + "::uuid)");
        return Verdict{row[0].as<bool>(), text_or_none(row, 1).value_or(""),
                       text_or_none(row, 2).value_or("")};
    });
}

Cut PostgresSource::cut() {
    return in_session([&](Connection &db) { return take_cut(db, lane_); });
}

void PostgresSource::report(const Progressed &what, const std::string &cluster) {
    in_session([&](Connection &db) {
        {
            const std::lock_guard lock(mutex_);
            cluster_id_ = cluster;
            incarnation_ = what.position.incarnation;
            latest_ = what;
            latest_reported_ = true;
        }
        write_report(db, what);
        return true;
    });
}

std::string PostgresSource::park(const std::vector<std::int64_t> &seqs, const std::string &error,
                                 const std::string &policy, std::int64_t covered) {
    return in_session([&](Connection &db) {
        crash_point(CrashPoint::before_park);
        {
            pqxx::work work(db.pqxx());
            work.exec("SELECT once.park(" + lane_text_ + ", seq, " + work.quote(error) + ", " +
                      work.quote(policy) + ", " + std::to_string(covered) +
                      ") FROM (SELECT seq FROM unnest(" + bigint_array(seqs) +
                      ") AS seq ORDER BY seq) AS refused");
            work.commit();
        }
        crash_point(CrashPoint::after_park);
        metrics_.parked += seqs.size();
        return take_cut(db, lane_).lsn; // flushed, and waited for, behind the commit
    });
}

std::vector<std::int64_t> PostgresSource::parked_seqs(std::int64_t after) {
    return in_session([&](Connection &db) {
        pqxx::nontransaction work(db.pqxx());
        std::vector<std::int64_t> seqs;
        for (const auto &row : work.exec("SELECT * FROM once.parked_seqs(" + lane_text_ + ", " +
                                         std::to_string(after) + ")"))
            seqs.push_back(row[0].as<std::int64_t>());
        return seqs;
    });
}

std::vector<TopicKey> PostgresSource::held_keys(std::int64_t covered) {
    return in_session([&](Connection &db) {
        pqxx::nontransaction work(db.pqxx());
        std::vector<TopicKey> keys;
        for (const auto &row : work.exec("SELECT topic, encode(key, 'hex') FROM once.held_keys(" +
                                         lane_text_ + ", " + std::to_string(covered) + ")"))
            keys.emplace_back(row[0].as<std::string>(),
                              bytes_from_hex(text_or_none(row, 1).value_or("")));
        return keys;
    });
}

// Events that wait for their time become events of a lane like all others; one relay at a time
// moves them.
void PostgresSource::deliver_due(Connection &db) {
    if (Clock::now() < next_delivery_)
        return;
    pqxx::work work(db.pqxx());
    const int moved =
        exec_row(work, "SELECT once.deliver_due(" + std::to_string(kDeliveryEvents) + ")")[0]
            .as<int>();
    work.commit();
    next_delivery_ = Clock::now() + (moved > 0 ? milliseconds(0) : kDeliveryPause);
}

// What is remembered for a time is forgotten in generations, and somebody has to turn them. A call
// does one step of one ring, in a transaction of its own: the next one looks at what runs since.
void PostgresSource::sweep(Connection &db) {
    if (Clock::now() < next_sweep_)
        return;
    next_sweep_ = Clock::now() + kSweepPause;
    for (int step = 0; step < kSweepSteps; ++step) {
        pqxx::nontransaction work(db.pqxx());
        if (work.exec("SELECT ring, step FROM once.sweep()").empty())
            break;
    }
}

void PostgresSource::look_for_redrive(Connection &db) {
    pqxx::nontransaction work(db.pqxx());
    redrive_seen_ =
        exec_row(work,
                 "SELECT EXISTS (SELECT FROM once.dead_letter d WHERE d.lane = " + lane_text_ +
                     " AND d.wanted AND d.stamp IS NULL) OR EXISTS (SELECT FROM "
                     "once.dead_letter d WHERE d.lane = " +
                     lane_text_ + " AND d.stamp > " + std::to_string(redrive_covered_) + ")")[0]
            .as<bool>();
}

std::optional<Redrive> PostgresSource::read_stamped(Connection &db, std::int64_t above) {
    std::optional<std::int64_t> number;
    {
        pqxx::nontransaction work(db.pqxx());
        const auto row =
            exec_row(work, "SELECT min(stamp) FROM once.dead_letter WHERE lane = " + lane_text_ +
                               " AND stamp > " + std::to_string(above));
        if (row[0].is_null())
            return std::nullopt;
        number = row[0].as<std::int64_t>();
    }
    Redrive redrive;
    redrive.number = *number;
    redrive.batch.arena = std::make_shared<Arena>();
    postgres::CopyStream stream(
        db.raw(), std::string("SELECT ") + kEventColumns + " FROM once.redrive_stamped(" +
                      lane_text_ + ", " + std::to_string(above) +
                      ") WHERE stamp = " + std::to_string(*number) + " ORDER BY seq");
    while (const auto row = stream.next_row()) {
        redrive.batch.events.push_back(
            decode_event(redrive.batch.arena->put(row->data(), row->size())));
        redrive.batch.bytes += redrive.batch.events.back().size();
    }
    return redrive;
}

std::optional<Redrive> PostgresSource::next_redrive(const Position &p) {
    return in_session([&](Connection &db) {
        redrive_covered_ = p.redrive_no;
        auto redrive = read_stamped(db, p.redrive_no);
        if (!redrive) {
            int stamped = 0;
            {
                pqxx::work work(db.pqxx());
                stamped =
                    exec_row(work, "SELECT once.redrive_next(" + lane_text_ + ", " +
                                       std::to_string(p.redrive_no + 1) + ", " +
                                       (p.s_prev ? work.quote(*p.s_prev) : "NULL") +
                                       "::pg_snapshot, " + work.quote(p.s_now) + "::pg_snapshot, " +
                                       (p.slice_seq ? std::to_string(*p.slice_seq) : "NULL") +
                                       ", " + std::to_string(options_.outbox.max_rows) + ", " +
                                       std::to_string(options_.outbox.max_bytes) + ")")[0]
                        .as<int>();
                work.commit();
            }
            if (stamped > 0) {
                crash_point(CrashPoint::after_stamp);
                redrive = read_stamped(db, p.redrive_no);
            }
        }
        redrive_seen_ = redrive.has_value();
        if (redrive) {
            const Cut covering = take_cut(db, lane_);
            redrive->batch.lsn = covering.lsn;
            redrive->batch.timeline = covering.timeline;
        }
        return redrive;
    });
}

void PostgresSource::redrive_refused(std::int64_t seq) {
    in_session([&](Connection &db) {
        crash_point(CrashPoint::before_unstamp);
        {
            pqxx::work work(db.pqxx());
            work.exec("SELECT once.redrive_refused(" + lane_text_ + ", " + std::to_string(seq) +
                      ")");
            work.commit();
        }
        crash_point(CrashPoint::after_unstamp);
        return true;
    });
}

void PostgresSource::redrive_unstamp(const std::vector<Uuid> &ids) {
    in_session([&](Connection &db) {
        pqxx::work work(db.pqxx());
        work.exec("SELECT once.redrive_unstamp(" + lane_text_ + ", " + uuid_array(ids) + ")");
        work.commit();
        return true;
    });
}

std::vector<Uuid> PostgresSource::stamped_ids() {
    return in_session([&](Connection &db) {
        pqxx::nontransaction work(db.pqxx());
        std::vector<Uuid> ids;
        for (const auto &row : work.exec("SELECT id FROM once.dead_letter WHERE lane = " +
                                         lane_text_ + " AND stamp IS NOT NULL"))
            if (const auto id = uuid_from_text(row[0].as<std::string>()))
                ids.push_back(*id);
        return ids;
    });
}

std::vector<Uuid> PostgresSource::missing_ids(const std::vector<Uuid> &ids) {
    return in_session([&](Connection &db) {
        pqxx::work work(db.pqxx());
        take_time(work);
        std::vector<Uuid> missing;
        for (const auto &row : work.exec("SELECT unnest(once.missing_ids(" + lane_text_ + ", " +
                                         uuid_array(ids) + "))"))
            if (const auto id = uuid_from_text(row[0].as<std::string>()))
                missing.push_back(*id);
        return missing;
    });
}

// By seq, as the tables have no index on time; good enough for what is at stake.
std::optional<std::int64_t> PostgresSource::oldest_ms() {
    return in_session([&](Connection &db) -> std::optional<std::int64_t> {
        pqxx::nontransaction work(db.pqxx());
        for (const auto &row :
             work.exec("SELECT floor(extract(epoch FROM time) * 1000)::bigint FROM once.event_" +
                       lane_text_ + " ORDER BY seq LIMIT 1"))
            return row[0].as<std::int64_t>();
        return std::nullopt;
    });
}

std::vector<std::string> PostgresSource::topics() {
    return in_session([&](Connection &db) {
        pqxx::work work(db.pqxx());
        take_time(work);
        std::vector<std::string> names;
        for (const auto &row :
             work.exec("SELECT topic FROM once.event_" + lane_text_ +
                       " UNION SELECT topic FROM once.dead_letter WHERE lane = " + lane_text_ +
                       // whose events may all be trimmed
                       " UNION SELECT jsonb_object_keys(r.info -> 'partitions') FROM "
                       "once.relay_report r WHERE r.lane = " +
                       lane_text_))
            names.push_back(row[0].as<std::string>());
        return names;
    });
}

} // namespace once::outbox
