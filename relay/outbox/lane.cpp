// The pipeline's way from nothing to a position it may go on from: lane, history, fencing, start
// record, position, genesis.
#include "relay/outbox/pipeline.hpp"

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

// What a refusal names.
constexpr std::size_t kNamed = 1000;
constexpr std::size_t kAskedAtOnce = 50000;
// The clocks of the hosts that relays and brokers run on may differ by so much; reading a little
// more than needed costs a moment.
constexpr std::int64_t kClockSlackMs = 300000;

} // namespace

// False: nothing to do for us.
bool Pipeline::take_lane() {
    const auto since = timing_.now();
    int known_holder = -1;
    for (;;) {
        const Claim claim = source_.claim();
        metrics_.beat();
        if (claim.evicted)
            log::warning("silent_holder_terminated",
                         {{"lane", lane_}, {"backend", claim.holder}, {"silent_s", claim.held_s}});
        if (claim.acquired) {
            ours_ = false; // somebody else may have shipped since
            log::info("lane_acquired", {{"lane", lane_}});
            metrics_.enter(WorkState::starting);
            crash_point(CrashPoint::after_lane_lock);
            return true;
        }
        if (claim.holder != known_holder) {
            log::info("standby", {{"lane", lane_}, {"holder", claim.holder}});
            known_holder = claim.holder;
            ever_ran_ = true;
        }
        metrics_.enter(WorkState::standby);
        if (until_empty_) {
            const Identity now = source_.identity();
            // The holder has to have looked since we came: what was committed before counts.
            const std::chrono::duration<double> waited = timing_.now() - since - kReportedLook;
            if (now.reported_empty && now.reported_age_s < waited.count()) {
                drained_ = true;
                return false;
            }
        }
        if (stopping())
            return false;
        timing_.pause(kStandbyInterval);
    }
}

void Pipeline::start() {
    identity_ = source_.identity();
    if (identity_.in_recovery)
        throw SourceLost("the server is a standby");
    armed_ = identity_.armed;
    reach_kafka();
    if (stopping())
        return;
    if (armed_ && identity_.cluster_id && *identity_.cluster_id != sink_.cluster_id())
        throw Refusal(
            ExitCode::refused,
            "this is another Kafka cluster than lane " + std::to_string(lane_) + " was shipped to",
            "The lane's position is in " + *identity_.cluster_id + ", this is " +
                sink_.cluster_id() + ".",
            "Connect to that cluster, or decide with once.rearm() what to ship to this one.");
    fence_replaced();
    // Before anybody of this incarnation is fenced: a clone must leave the original alone.
    for (;;) {
        const ReadBack seen = sink_.peek(identity_.incarnation, identity_.offset_hint);
        if (seen.outcome == Outcome::ok) {
            require_position_or_first_start(seen.record.has_value());
            if (seen.record) {
                hint_ = seen.record->offset;
                require_same_history(seen.record->position);
            }
            break;
        }
        if (stopping())
            return;
        not_now("kafka_away");
        source_.confirm();
        wait_a_little("position");
    }
    recover();
    ever_ran_ = true;
}

// Incarnations that once.rearm has put an end to: a relay of theirs that hangs could still commit
// what it has open, after we have looked at what the topics hold.
void Pipeline::fence_replaced() {
    for (const std::string &incarnation : identity_.replaced) {
        while (!stopping()) {
            const Outcome outcome = sink_.open(incarnation, kOpenTimeout);
            sink_.close();
            if (outcome == Outcome::ok)
                break;
            not_now("kafka_away");
            source_.confirm();
            wait_a_little("fence");
        }
    }
}

// A step on the way that is tried again. At a first start nobody is there to wait for a right that
// was never given; later it was taken away, and the lane goes on as soon as it is back.
void Pipeline::not_now(const char *event) {
    const Trouble &trouble = sink_.trouble();
    const std::string what =
        trouble.topic.empty() ? std::string() : "topic \"" + trouble.topic + "\"";
    if (trouble.forbidden && !ever_ran_)
        throw Refusal(ExitCode::kafka,
                      "not authorised" + (what.empty() ? "" : " for " + what) + ": " + trouble.text,
                      {}, "once-relay check lists what the relay needs.");
    if (trouble.forbidden)
        metrics_.enter(WorkState::blocked);
    log::warning(trouble.forbidden ? "lane_blocked" : event,
                 {{"lane", lane_}, {"topic", trouble.topic}, {"reason", trouble.text}});
}

void Pipeline::reach_kafka() {
    const auto since = timing_.now();
    const milliseconds first_contact(options_.kafka.request_timeout_ms);
    while (sink_.reach(!armed_) != Outcome::ok) {
        const bool answered = !sink_.cluster_id().empty();
        if (!ever_ran_ && !answered && timing_.now() - since > first_contact)
            throw Refusal(ExitCode::kafka, "could not reach Kafka: " + sink_.trouble().text, {},
                          "Check the list of brokers and the [kafka] settings.");
        if (stopping())
            return;
        if (!answered || sink_.trouble().forbidden)
            not_now("kafka_away");
        source_.confirm();
        wait_a_little("reach");
    }
}

void Pipeline::require_position_or_first_start(bool found) {
    if (found || !armed_)
        return;
    throw Refusal(ExitCode::refused, "the position of lane " + std::to_string(lane_) + " is lost",
                  "The database knows of earlier shipping, the topic \"" +
                      options_.kafka.position_topic + "\" has no position of incarnation " +
                      identity_.incarnation + ".",
                  "Decide with once.rearm() what to ship.");
}

std::string Pipeline::at_stake(const Position &p) {
    try {
        return count_at_stake(p);
    } catch (const SourceLost &e) {
        return "What is at stake is not known: " + std::string(e.what()) + ".";
    }
}

// What Kafka has and this database has not. Nothing behind the last report that is here was
// trimmed, and what was shipped before it was committed before it, so it was not lost: only what
// counts higher is asked about. The counter is dense, so it tells how many were not found.
std::string Pipeline::count_at_stake(const Position &p) {
    const bool comparable = identity_.reported && identity_.reported->incarnation == p.incarnation;
    const std::int64_t reported = comparable ? identity_.reported->counter : 0;
    const auto since = first_at_stake(comparable);
    metrics_.beat();
    std::vector<Uuid> ids, lost;
    const auto compare = [&] {
        for (const Uuid &id : source_.missing_ids(ids))
            lost.push_back(id);
        ids.clear();
    };
    std::int64_t unseen = p.counter - reported;
    const std::string name = identity_.incarnation + "/" + std::to_string(lane_);
    const auto look = [&](const Uuid &id, std::int64_t counter) {
        if (counter <= reported)
            return;
        unseen -= counter <= p.counter;
        ids.push_back(id);
        if (ids.size() == kAskedAtOnce)
            compare();
    };
    static_cast<void>(sink_.scan(source_.topics(), name, since, look));
    compare();
    tell_lost(lost);
    std::string said =
        std::to_string(lost.size()) + " messages are in Kafka and not in this database";
    if (!lost.empty())
        said += "; the log names the first " + std::to_string(std::min(lost.size(), kNamed));
    if (unseen > 0)
        said += ". What became of " + std::to_string(unseen) +
                " more is not known: their topics are not known here, or could not be read, or "
                "have removed them";
    return said + ".";
}

// Message times are the earlier of the database's clock at publishing and the relay's at shipping.
std::int64_t Pipeline::first_at_stake(bool reported) {
    const auto oldest = source_.oldest_ms();
    const auto shipped = reported ? time_ms(*identity_.reported) : std::nullopt;
    if (!shipped)
        return oldest.value_or(0);
    return std::max<std::int64_t>(0, std::min(oldest.value_or(*shipped), *shipped - kClockSlackMs));
}

void Pipeline::tell_lost(const std::vector<Uuid> &lost) {
    std::string line;
    for (std::size_t i = 0; i < std::min(lost.size(), kNamed); ++i) {
        line += (line.empty() ? "" : ",") + to_text(lost[i]);
        if (i % 20 == 19 || i + 1 == std::min(lost.size(), kNamed))
            log::error("only_in_kafka", {{"lane", lane_}, {"ids", std::exchange(line, {})}});
    }
}

void Pipeline::require_same_history(const Position &p) {
    if (identity_.mode == "continue")
        return; // an operator has answered this question
    const Verdict verdict = source_.check_history(p);
    if (verdict.same)
        return;
    throw Refusal(ExitCode::refused,
                  "this database is not the one that lane " + std::to_string(lane_) +
                      " was shipped from: " + verdict.reason,
                  verdict.detail + (verdict.detail.empty() ? "" : " ") + at_stake(p),
                  "Find out what happened, then decide with once.rearm() what to ship.");
}

// Everything new, then what Kafka holds is the truth. False: asked to stop meanwhile.
bool Pipeline::recover() {
    if (!blocked_)
        metrics_.enter(WorkState::recovering);
    under_way_.reset();
    ReadBack back;
    while (reopen(back))
        if (adopt(back))
            return true;
    return false;
}

bool Pipeline::reopen(ReadBack &back) {
    for (;;) {
        sink_.close();
        if (stopping())
            return false;
        // R4: who holds the lane goes on. One who lost it must not fence the one who has it now.
        source_.confirm();
        Outcome outcome = sink_.open(identity_.incarnation, kOpenTimeout);
        if (outcome == Outcome::ok) {
            back = sink_.read_back(hint_, kOpenTimeout);
            outcome = back.outcome;
            if (outcome == Outcome::ok)
                return true;
        }
        ++metrics_.producer_recycles;
        const Trouble trouble = sink_.trouble();
        not_now(trouble.kind == Trouble::Kind::fenced ? "producer_fenced" : "recovery_delayed");
        if (trouble.kind == Trouble::Kind::topic)
            reach_kafka(); // refuses when the position topic is gone
        wait_a_little("recovery");
    }
}

// What was committed once and is not there any more was lost, and would be shipped again.
void Pipeline::require_no_step_back(const Position &found) {
    const auto compare = [&](const Position &known, const char *who) {
        if (known.incarnation != found.incarnation)
            return;
        if (const auto fault = regression(known, found))
            throw Refusal(ExitCode::refused,
                          "the position of lane " + std::to_string(lane_) + " went backwards",
                          "Topic \"" + options_.kafka.position_topic + "\" has less than " + who +
                              " knows to be committed: " + *fault +
                              ". Its end was lost, and perhaps events with it.",
                          "Find out what happened to the topic (unclean leader election, records "
                          "deleted), then decide with once.rearm() what to ship.");
    };
    if (identity_.mode == "continue")
        return; // an operator has answered this question
    if (identity_.reported)
        compare(*identity_.reported, "the database");
    if (ours_)
        compare(position_, "this relay");
}

// False: Kafka did not take what had to be written first, or we were asked to stop.
bool Pipeline::adopt(const ReadBack &back) {
    require_position_or_first_start(back.record.has_value());
    if (!begin(back))
        return false;
    source_.report({position_, hint_.value_or(0), false}, sink_.cluster_id());
    if (!armed_ || identity_.mode) {
        crash_point(CrashPoint::after_arm);
        armed_ = true;
        identity_.mode.reset();
    }
    if (position_.mode == "missing" && !in_kafka_ && !load_missing())
        return false;
    load_dead_letters();
    metrics_.position = position_.counter;
    source_.resume(position_);
    if (!blocked_)
        runs();
    return true;
}

void Pipeline::runs() {
    blocked_ = false;
    log::info("lane_running", {{"lane", lane_}, {"position", position_.counter}});
    metrics_.enter(WorkState::running);
}

bool Pipeline::begin(const ReadBack &back) {
    if (!back.record) {
        if (!first_start())
            return false;
    } else {
        const Position &found = back.record->position;
        require_same_history(found);
        require_no_step_back(found);
        // Committed by a transaction whose end we did not see.
        if (ours_ && found.counter > position_.counter)
            metrics_.events += static_cast<std::uint64_t>(found.counter - position_.counter);
        position_ = found;
        hint_ = back.record->offset;
    }
    ours_ = true;
    head_ = position_;
    return identity_.mode != "continue" || go_on_as_asked();
}

// From here on a position relies on them, so it must not be older than they are.
void Pipeline::load_dead_letters() {
    dead_letters_.load(source_.parked_seqs(0), source_.held_keys(position_.redrive_no));
    metrics_.keys_held = static_cast<std::int64_t>(dead_letters_.held_count());
    covered_ = source_.cut();
}

// No record and never armed: this is the beginning.
bool Pipeline::first_start() {
    const Cut cut = source_.cut();
    Position genesis;
    genesis.incarnation = identity_.incarnation;
    genesis.database_oid = identity_.database_oid;
    genesis.system_identifier = identity_.system_identifier;
    genesis.timeline = cut.timeline;
    genesis.lsn = cut.lsn;
    genesis.s_now = identity_.mode == "none" ? cut.snapshot : std::string(kEmptySnapshot);
    genesis.redrive_no = identity_.redrive_floor;
    genesis.mode = identity_.mode;
    if (!commit_alone(genesis))
        return false;
    log::info("genesis", {{"lane", lane_}, {"mode", identity_.mode.value_or("first")}});
    crash_point(CrashPoint::after_genesis);
    return true;
}

bool Pipeline::go_on_as_asked() {
    const Cut cut = source_.cut();
    // It means that the transactions are the same. Where ids are given again, what commits under
    // them would be taken for shipped.
    Position next = position_;
    next.s_now = cut.snapshot;
    if (regression(position_, next))
        throw Refusal(ExitCode::refused, "cannot continue lane " + std::to_string(lane_),
                      "The next transaction comes after " + cut.snapshot + ", shipped was " +
                          position_.s_now + ": this database lacks transactions that were shipped.",
                      "Decide with once.rearm() for missing, all or none.");
    Position same = position_;
    same.database_oid = identity_.database_oid;
    same.system_identifier = identity_.system_identifier;
    same.timeline = cut.timeline;
    same.lsn = cut.lsn;
    same.mode = "continue";
    if (!commit_alone(same))
        return false;
    log::info("continued", {{"lane", lane_}, {"position", same.counter}});
    return true;
}

bool Pipeline::commit_alone(const Position &what) {
    Shipment shipment;
    shipment.position = what;
    head_ = what;
    return hand_over(Batch{}, std::move(shipment)) && settle(milliseconds(30000));
}

// Ids of this database that the topics have already, whatever incarnation shipped them: 16 bytes
// each in memory. False: asked to stop.
bool Pipeline::load_missing() {
    in_kafka_.emplace();
    const auto topics = source_.topics();
    while (sink_.scan(topics, "", 0, [&](const Uuid &id, std::int64_t) {
        in_kafka_->push_back(id);
    }) != Outcome::ok) {
        log::warning("kafka_away", {{"lane", lane_}, {"reason", sink_.trouble().text}});
        in_kafka_->clear();
        if (stopping()) {
            in_kafka_.reset();
            return false;
        }
        source_.confirm();
        wait_a_little("missing");
    }
    std::sort(in_kafka_->begin(), in_kafka_->end());
    in_kafka_->erase(std::unique(in_kafka_->begin(), in_kafka_->end()), in_kafka_->end());
    // Shipped again once, but not in these topics: still wanted.
    std::vector<Uuid> lacking;
    for (const Uuid &id : source_.stamped_ids())
        if (!std::binary_search(in_kafka_->begin(), in_kafka_->end(), id))
            lacking.push_back(id);
    if (!lacking.empty())
        source_.redrive_unstamp(lacking);
    log::info("topics_read", {{"lane", lane_}, {"ids", in_kafka_->size()}});
    return true;
}

} // namespace once::outbox
