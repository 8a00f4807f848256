// A database and a Kafka in memory, behind the interfaces that the pipeline sees. The fake Kafka
// keeps what was committed, with the position inside the transaction, and can be told to fail any
// step.
#pragma once

#include "relay/outbox/pipeline.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>

namespace once::outbox::fake {

// What each event counts for.
constexpr std::size_t kEventBytes = 100;

struct Row {
    std::string topic, key;
    bool refused = false;     // the broker will not have it
    std::int64_t time_ms = 1; // since 1970
};

inline Uuid id_of(std::int64_t seq) {
    Uuid id{};
    for (int i = 0; i < 8; ++i)
        id[15 - i] = static_cast<unsigned char>(seq >> (8 * i));
    return id;
}

// Events 1, 2, 3 …; the snapshot "k:k:" has passed the first k - 3 of them. More than the limit
// comes in slices.
class Database : public Source {
  public:
    std::vector<Row> rows;
    Identity who;
    bool held_by_other = false;
    bool same_history = true;
    int lose_session_in = 0; // at the n-th call of next(); 0 never
    int claims = 0, confirms = 0, reports = 0;
    std::size_t largest_wanted = 0;
    std::vector<Progressed> progress;
    std::set<std::int64_t> parked;
    std::map<std::int64_t, std::string> policy;
    std::vector<std::int64_t> wanted; // to redrive
    std::map<std::int64_t, std::int64_t> stamps;
    std::vector<std::int64_t> refused_again;
    std::function<void()> on_next = [] {};
    std::string wal = "0/10"; // how far it is written
    std::uint32_t timeline = 1;
    bool too_slow = false; // to go through whole tables

    Database() {
        who.incarnation = "11111111-2222-3333-4444-555555555555";
        who.system_identifier = "7";
        who.timeline = 1;
        who.database_oid = 5;
    }
    void publish(int count, const std::string &topic = "t", const std::string &key = "k") {
        for (int i = 0; i < count; ++i)
            rows.push_back({topic, key, false});
    }

    Claim claim() override {
        ++claims;
        Claim claim;
        claim.acquired = !held_by_other;
        claim.holder = held_by_other ? 99 : 0;
        return claim;
    }
    Identity identity() override { return who; }
    Verdict check_history(const Position &) override {
        return {same_history, "other xids", "next is below"};
    }
    Cut cut() override { return {snapshot(rows.size()), wal, timeline, 0}; }
    void confirm() override { ++confirms; }
    void resume(const Position &p) override {
        const auto passed = [](const std::string &text) { return std::stoull(text) - 3; };
        cursor = p.slice_seq ? static_cast<std::size_t>(*p.slice_seq) : passed(p.s_now);
        from = p.slice_seq ? passed(*p.s_prev) : cursor;
        to = passed(p.s_now);
        resumed = true;
    }
    Answer next(std::chrono::milliseconds, ReadSize most) override {
        const std::size_t limit =
            std::max<std::size_t>(1, std::min(most.rows, most.bytes / kEventBytes));
        on_next();
        largest_wanted = std::max(largest_wanted, limit);
        if (lose_session_in > 0 && --lose_session_in == 0)
            throw SourceLost("gone");
        if (cursor >= rows.size())
            return {std::nullopt, true};
        if (cursor >= to)
            from = to, to = rows.size();
        Batch batch;
        batch.arena = std::make_shared<Arena>();
        batch.s_prev = snapshot(from);
        const std::size_t end = std::min(to, cursor + limit);
        for (; cursor < end; ++cursor)
            batch.events.push_back(event(static_cast<std::int64_t>(cursor) + 1));
        batch.s_now = snapshot(to);
        if (cursor < to)
            batch.slice_seq = static_cast<std::int64_t>(cursor);
        batch.lsn = "0/20";
        batch.timeline = 1;
        return {std::move(batch), true};
    }
    void progressed(const Progressed &what) override { progress.push_back(what); }
    void report(const Progressed &what, const std::string &cluster) override {
        ++reports;
        progress.push_back(what);
        who.armed = true;
        who.cluster_id = cluster;
        if (who.mode == what.position.mode)
            who.mode.reset();
    }
    std::string park(const std::vector<std::int64_t> &seqs, const std::string &,
                     const std::string &how, std::int64_t) override {
        for (const auto seq : seqs) {
            parked.insert(seq);
            policy[seq] = how;
        }
        return wal = "0/30";
    }
    std::vector<std::int64_t> parked_seqs(std::int64_t) override {
        return {parked.begin(), parked.end()};
    }
    std::vector<HeldKey> held_keys(std::int64_t covered) override {
        std::map<std::pair<std::string, std::string>, std::int64_t> keys;
        for (const auto seq : parked)
            if (policy[seq] == "hold_key" && (!stamps.count(seq) || stamps[seq] > covered))
                keys.emplace(std::pair(rows[seq - 1].topic, rows[seq - 1].key), seq);
        std::vector<HeldKey> held;
        for (const auto &[name, since] : keys)
            held.push_back({name.first, name.second, since});
        return held;
    }
    bool redrive_waiting() override { return !wanted.empty() || !stamps.empty(); }
    std::optional<Redrive> next_redrive(const Position &p, ReadSize) override {
        Redrive redrive;
        const auto take = [&] {
            for (const auto &[seq, stamp] : stamps)
                if (stamp > p.redrive_no)
                    redrive.batch.events.push_back(event(seq)), redrive.number = stamp;
        };
        take();
        if (redrive.batch.events.empty() && !wanted.empty()) {
            for (const auto seq : wanted)
                stamps[seq] = p.redrive_no + 1;
            wanted.clear();
            take();
        }
        if (redrive.batch.events.empty())
            return std::nullopt;
        redrive.batch.arena = std::make_shared<Arena>();
        redrive.batch.lsn = "0/40";
        redrive.batch.timeline = 1;
        return redrive;
    }
    void redrive_refused(std::int64_t seq) override {
        refused_again.push_back(seq);
        for (auto it = stamps.lower_bound(seq); it != stamps.end();)
            it = stamps.erase(it);
    }
    void redrive_unstamp(const std::vector<Uuid> &ids) override {
        for (auto it = stamps.begin(); it != stamps.end();)
            if (std::find(ids.begin(), ids.end(), id_of(it->first)) != ids.end()) {
                wanted.push_back(it->first);
                it = stamps.erase(it);
            } else {
                ++it;
            }
    }
    std::vector<Uuid> stamped_ids() override { return {}; }
    std::vector<Uuid> missing_ids(const std::vector<Uuid> &ids) override {
        std::vector<Uuid> missing;
        for (const Uuid &id : ids)
            if (id[15] > rows.size()) // good for fewer than 256 rows
                missing.push_back(id);
        return missing;
    }
    std::int64_t passed_over(const std::string &) override { return 0; }
    std::vector<std::string> topics() override {
        if (too_slow)
            throw SourceLost("canceling statement due to statement timeout");
        return {"t"};
    }
    std::optional<std::int64_t> oldest_ms() override { return oldest; }
    std::optional<std::int64_t> oldest = 1;
    void close() noexcept override { resumed = false; }

    Event event(std::int64_t seq) const {
        Event made;
        made.seq = seq;
        made.id = id_of(seq);
        made.time_ms = rows[seq - 1].time_ms;
        made.topic = rows[seq - 1].topic;
        made.key = rows[seq - 1].key;
        made.payload = "p";
        return made;
    }
    static std::string snapshot(std::size_t passed) {
        const auto text = std::to_string(passed + 3);
        return text + ":" + text + ":";
    }

  private:
    std::size_t cursor = 0, from = 0, to = 0; // the difference being read, and how far
    bool resumed = false;
};

// One scripted failure of a step. `done`: the brokers carried it out although they said otherwise.
struct Fault {
    Outcome outcome = Outcome::ok;
    Trouble::Kind kind = Trouble::Kind::transient;
    bool done = false;
    bool permanent = false;
};

class Kafka : public Transport, public Checkpoint {
  public:
    explicit Kafka(Database &database) : database(database) {}

    std::deque<Fault> on_reach, on_open, on_read_back, on_fill, on_flush, on_commit;
    std::deque<Preparation::Kind> on_prepare;
    std::set<std::int64_t> known_refused; // without asking the brokers
    bool names_culprits = false;
    ReadSize takes{SIZE_MAX, SIZE_MAX}; // of one transaction
    std::vector<std::int64_t> log;      // seqs, in committed order
    std::vector<Record> positions;      // committed
    std::set<std::string> missing_topics;
    bool for_time = false; // why it refuses
    std::size_t ring_size = 1;
    int opens = 0, transactions = 0;
    std::vector<std::string> opened; // incarnations
    std::string cluster = "cluster-a";
    std::string cluster_now;           // that answers new producers; empty: the same
    std::vector<std::size_t> attempts; // messages in each transaction that was begun

    using Timeout = std::chrono::milliseconds;

    Outcome reach(bool) override { return take(on_reach).outcome; }
    const std::string &cluster_id() const override { return cluster; }
    ReadBack peek(const std::string &, std::optional<std::int64_t>) override { return last(); }
    Outcome open(const std::string &incarnation, const std::string &expected, Timeout) override {
        ++opens;
        opened.push_back(incarnation);
        close();
        if (cluster_now != expected && !cluster_now.empty()) {
            why = trouble_of(Trouble::Kind::transient, "another one");
            why.cluster = cluster_now;
            return Outcome::fatal;
        }
        return take(on_open).outcome;
    }
    ReadBack read_back(std::optional<std::int64_t>, Timeout) override {
        const Fault fault = take(on_read_back);
        return fault.outcome == Outcome::ok ? last() : ReadBack{fault.outcome, std::nullopt};
    }
    void close() noexcept override { filled.reset(), under_way.reset(); }
    void abandon() noexcept override { close(); }
    Preparation prepare(const Batch &batch, Timeout) override {
        Preparation found;
        for (const Event &event : batch.events)
            if (missing_topics.count(std::string(event.topic)) != 0) {
                found.kind = Preparation::Kind::topics;
                found.unusable.push_back(trouble_of(Trouble::Kind::topic, "missing"));
                found.unusable.back().topic = event.topic;
                return found;
            }
        for (std::size_t i = 0; i < batch.events.size(); ++i)
            if (known_refused.count(batch.events[i].seq) != 0)
                found.culprits.push_back({i, "known"});
        if (!on_prepare.empty()) {
            found.kind = on_prepare.front();
            on_prepare.pop_front();
        }
        return found;
    }
    Outcome fill(const Batch &batch, std::int64_t first, const Position &position) override {
        attempts.push_back(batch.events.size());
        Transaction made;
        made.position = position;
        for (std::size_t i = 0; i < batch.events.size(); ++i) {
            made.seqs.push_back(batch.events[i].seq);
            if (database.rows[batch.events[i].seq - 1].refused) {
                made.refused = i + 1;
                made.culprits.push_back({i, "no"});
            }
        }
        made.first = first;
        filled = made;
        return take(on_fill).outcome;
    }
    Outcome flush(Timeout) override {
        if (filled->refused != 0) {
            why = trouble_of(Trouble::Kind::message, "no");
            why.suspects = filled->refused;
            why.for_time = for_time;
            if (names_culprits)
                why.culprits = filled->culprits;
            return Outcome::abort;
        }
        if (filled->seqs.size() > takes.rows || filled->seqs.size() * kEventBytes > takes.bytes) {
            why = trouble_of(Trouble::Kind::transient, "timed out");
            return Outcome::abort;
        }
        return take(on_flush).outcome;
    }
    void commit() override {
        under_way = std::exchange(filled, std::nullopt);
        ++transactions;
    }
    bool committing() const override { return under_way.has_value(); }
    Outcome await_commit(Timeout) override {
        if (!under_way)
            return Outcome::ok;
        const Fault fault = take(on_commit);
        if (fault.outcome == Outcome::retry)
            return Outcome::retry;
        if (fault.outcome == Outcome::ok || fault.done) {
            log.insert(log.end(), under_way->seqs.begin(), under_way->seqs.end());
            positions.push_back({under_way->position, static_cast<std::int64_t>(positions.size())});
        }
        under_way.reset();
        return fault.outcome;
    }
    std::size_t ring() const override { return ring_size; }
    std::int64_t record_offset() const override {
        return static_cast<std::int64_t>(positions.size());
    }
    const Trouble &trouble() const override { return why; }
    Outcome scan(const std::vector<std::string> &, const std::string &, std::int64_t since_ms,
                 const Seen &seen) override {
        scanned_since = since_ms;
        for (const auto seq : in_topics)
            seen(id_of(seq), seq);
        return Outcome::ok;
    }
    std::set<std::int64_t> in_topics;
    std::int64_t scanned_since = -1;

  private:
    struct Transaction {
        Position position;
        std::vector<std::int64_t> seqs;
        std::size_t refused = 0;
        std::vector<Culprit> culprits;
        std::int64_t first = 0;
    };
    static Trouble trouble_of(Trouble::Kind kind, const char *text) {
        Trouble trouble;
        trouble.kind = kind;
        trouble.text = text;
        return trouble;
    }
    Fault take(std::deque<Fault> &script) {
        if (script.empty())
            return {};
        const Fault fault = script.front();
        script.pop_front();
        if (fault.outcome != Outcome::ok)
            why = trouble_of(fault.kind, "scripted"), why.permanent = fault.permanent;
        return fault;
    }
    ReadBack last() const {
        return {Outcome::ok,
                positions.empty() ? std::nullopt : std::optional<Record>(positions.back())};
    }

    Database &database;
    std::optional<Transaction> filled, under_way;
    Trouble why;
};

class Time : public Timing {
  public:
    Instant now() override { return instant; }
    void pause(Span span) override {
        instant += span;
        ++pauses;
        on_pause();
    }
    bool stop_requested() override { return stop; }

    Instant instant{};
    int pauses = 0;
    bool stop = false;
    std::function<void()> on_pause = [] {};
};

// All of it, and a pipeline that ships until nothing is left.
struct Lane {
    Database database;
    Kafka kafka{database};
    Time time;
    Options options;
    LaneMetrics metrics{0};
    bool until_empty = true;

    Lane() { options.outbox.max_rows = 100; }
    // Whatever happened is in the table of states.
    ~Lane() { EXPECT_EQ(metrics.unexpected_causes, 0u); }
    void run() {
        Pipeline pipeline(options, until_empty, 0, database, kafka, kafka, time, metrics);
        pipeline.run();
    }
    std::vector<std::int64_t> all() const {
        std::vector<std::int64_t> seqs;
        for (std::size_t seq = 1; seq <= database.rows.size(); ++seq)
            seqs.push_back(static_cast<std::int64_t>(seq));
        return seqs;
    }
};

} // namespace once::outbox::fake
