#include "relay/outbox/lane_start.hpp"

#include "relay/outbox/at_stake.hpp"
#include "relay/process/crash_point.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"

#include <algorithm>

namespace once::outbox {
namespace {

using std::chrono::milliseconds;

// How often a standby asks for the lane: part of the time without a relay after a crash.
constexpr milliseconds kStandbyInterval{150};
// One attempt: short, so that a stop is heard. Each begins with new producers.
constexpr milliseconds kOpenTimeout{5000};

} // namespace

LaneStart::LaneStart(LaneControl &control, Source &source, Transport &transport,
                     Checkpoint &checkpoint, Transactions &transactions)
    : control_(control), source_(source), transport_(transport), checkpoint_(checkpoint),
      transactions_(transactions) {}

bool LaneStart::take_lane() {
    const auto since = control_.now();
    const int lane = control_.lane();
    int known_holder = -1;
    for (;;) {
        const Claim claim = source_.claim();
        control_.beat();
        if (claim.evicted)
            log::warning("silent_holder_terminated",
                         {{"lane", lane}, {"backend", claim.holder}, {"silent_s", claim.held_s}});
        if (claim.acquired) {
            ours_ = false; // somebody else may have shipped since
            log::info("lane_acquired", {{"lane", lane}});
            control_.on(LaneCause::lane_taken);
            crash_point(CrashPoint::after_lane_lock);
            return true;
        }
        if (claim.holder != known_holder) {
            log::info("standby", {{"lane", lane}, {"holder", claim.holder}});
            known_holder = claim.holder;
            control_.has_run();
        }
        control_.on(LaneCause::lane_held);
        if (control_.until_empty()) {
            const Identity now = source_.identity();
            // The holder has to have looked since we came: what was committed before counts.
            const std::chrono::duration<double> waited = control_.now() - since - kReportedLook;
            if (now.reported_empty && now.reported_age_s < waited.count())
                return false;
        }
        if (control_.stopping())
            return false;
        control_.pause(kStandbyInterval);
    }
}

bool LaneStart::prove_history() {
    identity_ = source_.identity();
    if (identity_.in_recovery)
        throw SourceLost("the server is a standby");
    armed_ = identity_.armed;
    if (!reach_kafka())
        return false;
    cluster_ = checkpoint_.cluster_id();
    if (armed_ && identity_.cluster_id)
        require_same_cluster(*identity_.cluster_id, cluster_);
    fence_replaced();
    // Before anybody of this incarnation is fenced: a clone must leave the original alone.
    for (;;) {
        const ReadBack seen = checkpoint_.peek(identity_.incarnation, identity_.offset_hint);
        if (seen.outcome == Outcome::ok) {
            require_position_or_first_start(seen.record.has_value());
            if (seen.record) {
                hint_ = seen.record->offset;
                require_same_history(seen.record->position);
            }
            break;
        }
        if (control_.stopping())
            return false;
        not_now("kafka_away", checkpoint_.trouble());
        source_.confirm();
        control_.wait_a_little("position");
    }
    control_.on(LaneCause::same_history);
    return true;
}

void LaneStart::require_same_cluster(const std::string &expected, const std::string &found) {
    if (expected == found)
        return;
    throw Refusal(ExitCode::refused,
                  "this is another Kafka cluster than lane " + std::to_string(control_.lane()) +
                      " was shipped to",
                  "The lane's position is in " + expected + ", this is " + found + ".",
                  "Connect to that cluster, or decide with once.rearm() what to ship to this one.");
}

// Incarnations that once.rearm has put an end to: a relay of theirs that hangs could still commit
// what it has open, after we have looked at what the topics hold.
void LaneStart::fence_replaced() {
    for (const std::string &incarnation : identity_.replaced) {
        while (!control_.stopping()) {
            const Outcome outcome = transport_.open(incarnation, cluster_, kOpenTimeout);
            transport_.close();
            if (outcome == Outcome::ok)
                break;
            not_now("kafka_away", transport_.trouble());
            source_.confirm();
            control_.wait_a_little("fence");
        }
    }
}

// A step on the way that is tried again. At the first start a missing right is a configuration
// error: refuse. Later it was revoked: go on as soon as it is back.
void LaneStart::not_now(const char *event, const Trouble &trouble) {
    const std::string what =
        trouble.topic.empty() ? std::string() : "topic \"" + trouble.topic + "\"";
    if (!trouble.cluster.empty())
        require_same_cluster(cluster_, trouble.cluster);
    if (trouble.permanent)
        throw Refusal(ExitCode::kafka, "Kafka refuses: " + trouble.text, {}, trouble.hint);
    if (trouble.forbidden && !control_.ever_ran())
        throw Refusal(ExitCode::kafka,
                      "not authorised" + (what.empty() ? "" : " for " + what) + ": " + trouble.text,
                      {}, "once-relay check lists what the relay needs.");
    control_.on(trouble.forbidden ? LaneCause::right_missing : LaneCause::server_away);
    log::warning(trouble.forbidden ? "lane_blocked" : event,
                 {{"lane", control_.lane()},
                  {"topic", trouble.topic},
                  {"attempt", control_.metrics().failed()},
                  {"reason", trouble.text}});
}

bool LaneStart::reach_kafka() {
    const auto since = control_.now();
    const milliseconds first_contact(control_.options().kafka.request_timeout_ms);
    while (checkpoint_.reach(!armed_) != Outcome::ok) {
        const bool answered = !checkpoint_.cluster_id().empty();
        const Trouble trouble = checkpoint_.trouble();
        if (!control_.ever_ran() && !answered && control_.now() - since > first_contact)
            throw Refusal(ExitCode::kafka, "could not reach Kafka: " + trouble.text, {},
                          "Check the list of brokers and the [kafka] settings.");
        if (control_.stopping())
            return false;
        if (!answered || trouble.forbidden)
            not_now("kafka_away", trouble);
        source_.confirm();
        control_.wait_a_little("reach");
    }
    return !control_.stopping();
}

void LaneStart::require_position_or_first_start(bool found) {
    if (found || !armed_)
        return;
    throw Refusal(ExitCode::refused,
                  "the position of lane " + std::to_string(control_.lane()) + " is lost",
                  "The database knows of earlier shipping, the topic \"" +
                      control_.options().kafka.position_topic +
                      "\" has no position of incarnation " + identity_.incarnation + ".",
                  "Decide with once.rearm() what to ship.");
}

void LaneStart::require_same_history(const Position &position) {
    if (identity_.mode == "continue")
        return; // an operator has answered this question
    const Verdict verdict = source_.check_history(position);
    if (verdict.same)
        return;
    throw Refusal(ExitCode::refused,
                  "this database is not the one that lane " + std::to_string(control_.lane()) +
                      " was shipped from: " + verdict.reason,
                  verdict.detail + (verdict.detail.empty() ? "" : " ") +
                      at_stake(control_, source_, checkpoint_, identity_, position),
                  "Find out what happened, then decide with once.rearm() what to ship.");
}

std::optional<StartingPoint> LaneStart::recover(bool topics_read) {
    ReadBack back;
    while (reopen(back)) {
        if (!adopt(back))
            continue;
        StartingPoint point{transactions_.position(), std::nullopt};
        if (point.position.mode == "missing" && !topics_read)
            if (!(point.in_kafka = ids_in_kafka()))
                continue; // asked to stop
        control_.metrics().position = point.position.counter;
        return point;
    }
    return std::nullopt;
}

bool LaneStart::reopen(ReadBack &back) {
    for (;;) {
        control_.stopping() ? transport_.abandon() : transport_.close();
        transactions_.forget();
        if (control_.stopping())
            return false;
        // R4: who holds the lane goes on. One who lost it must not fence the one who has it now.
        source_.confirm();
        Trouble trouble;
        if (transport_.open(identity_.incarnation, cluster_, kOpenTimeout) != Outcome::ok) {
            trouble = transport_.trouble();
        } else {
            back = checkpoint_.read_back(ours_ ? transactions_.offset() : hint_, kOpenTimeout);
            if (back.outcome == Outcome::ok)
                return true;
            trouble = checkpoint_.trouble();
        }
        ++control_.metrics().producer_recycles;
        not_now(trouble.kind == Trouble::Kind::fenced ? "producer_fenced" : "recovery_delayed",
                trouble);
        if (trouble.kind == Trouble::Kind::topic)
            reach_kafka(); // refuses when the checkpoint topic is gone
        control_.wait_a_little("recovery");
    }
}

// What was committed once and is not there any more was lost, and would be shipped again.
void LaneStart::require_no_step_back(const Position &found) {
    const auto compare = [&](const Position &known, const char *who) {
        if (known.incarnation != found.incarnation)
            return;
        if (const auto fault = regression(known, found))
            throw Refusal(ExitCode::refused,
                          "the position of lane " + std::to_string(control_.lane()) +
                              " went backwards",
                          "Topic \"" + control_.options().kafka.position_topic +
                              "\" has less than " + who + " knows to be committed: " + *fault +
                              ". Its end was lost, and perhaps events with it.",
                          "Find out what happened to the topic (unclean leader election, records "
                          "deleted), then decide with once.rearm() what to ship.");
    };
    if (identity_.mode == "continue")
        return; // an operator has answered this question
    if (identity_.reported)
        compare(*identity_.reported, "the database");
    if (ours_)
        compare(transactions_.position(), "this relay");
}

// False: Kafka did not take what had to be written first.
bool LaneStart::adopt(const ReadBack &back) {
    require_position_or_first_start(back.record.has_value());
    if (!begin(back))
        return false;
    hint_ = transactions_.offset();
    source_.report({transactions_.position(), hint_.value_or(0), false}, checkpoint_.cluster_id());
    if (!armed_ || identity_.mode) {
        crash_point(CrashPoint::after_arm);
        armed_ = true;
        identity_.mode.reset();
    }
    return true;
}

bool LaneStart::begin(const ReadBack &back) {
    if (!back.record) {
        if (!first_start())
            return false;
    } else {
        const Position &found = back.record->position;
        require_same_history(found);
        require_no_step_back(found);
        // Committed by a transaction whose end we did not see.
        const std::int64_t known = transactions_.position().counter;
        if (ours_ && found.counter > known)
            control_.metrics().events += static_cast<std::uint64_t>(found.counter - known);
        transactions_.go_on_from(found, back.record->offset);
    }
    ours_ = true;
    return identity_.mode != "continue" || continue_as_asked();
}

// No record and never armed: this is the beginning.
bool LaneStart::first_start() {
    const Cut cut = source_.cut();
    Position genesis;
    genesis.incarnation = identity_.incarnation;
    genesis.database_oid = identity_.database_oid;
    genesis.system_identifier = identity_.system_identifier;
    genesis.timeline = cut.timeline;
    genesis.lsn = cut.lsn;
    if (identity_.mode == "none") {
        // What commits between the decision and this start is no longer "what is there".
        genesis.s_now = identity_.decided_at.value_or(cut.snapshot);
        log::warning("passed_over", {{"lane", control_.lane()},
                                     {"events", source_.passed_over(genesis.s_now)},
                                     {"reason", "rearm none"}});
    } else {
        genesis.s_now = kEmptySnapshot;
    }
    genesis.redrive_no = identity_.redrive_floor;
    genesis.mode = identity_.mode;
    if (transactions_.commit_alone(genesis))
        return false;
    log::info("genesis", {{"lane", control_.lane()}, {"mode", identity_.mode.value_or("first")}});
    crash_point(CrashPoint::after_genesis);
    return true;
}

bool LaneStart::continue_as_asked() {
    const Position &position = transactions_.position();
    const Cut cut = source_.cut();
    // It means that the transactions are the same. Where ids are given again, what commits under
    // them would be taken for shipped.
    Position next = position;
    next.s_now = cut.snapshot;
    if (regression(position, next))
        throw Refusal(ExitCode::refused, "cannot continue lane " + std::to_string(control_.lane()),
                      "The next transaction comes after " + cut.snapshot + ", shipped was " +
                          position.s_now + ": this database lacks transactions that were shipped.",
                      "Decide with once.rearm() for missing, all or none.");
    Position same = position;
    same.database_oid = identity_.database_oid;
    same.system_identifier = identity_.system_identifier;
    same.timeline = cut.timeline;
    same.lsn = cut.lsn;
    same.mode = "continue";
    if (transactions_.commit_alone(same))
        return false;
    log::info("continued", {{"lane", control_.lane()}, {"position", same.counter}});
    return true;
}

// Whatever incarnation shipped them: 16 bytes each in memory. None: asked to stop.
std::optional<std::deque<Uuid>> LaneStart::ids_in_kafka() {
    std::deque<Uuid> ids;
    const auto topics = source_.topics();
    while (checkpoint_.scan(topics, "", 0, [&](const Uuid &id, std::int64_t) {
        ids.push_back(id);
    }) != Outcome::ok) {
        log::warning("kafka_away", {{"lane", control_.lane()},
                                    {"attempt", control_.metrics().failed()},
                                    {"reason", checkpoint_.trouble().text}});
        ids.clear();
        if (control_.stopping())
            return std::nullopt;
        source_.confirm();
        control_.wait_a_little("missing");
    }
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    // Shipped again once, but not in these topics: still wanted.
    std::vector<Uuid> lacking;
    for (const Uuid &id : source_.stamped_ids())
        if (!std::binary_search(ids.begin(), ids.end(), id))
            lacking.push_back(id);
    if (!lacking.empty())
        source_.redrive_unstamp(lacking);
    log::info("topics_read", {{"lane", control_.lane()}, {"ids", ids.size()}});
    return ids;
}

} // namespace once::outbox
