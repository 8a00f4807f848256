#include "relay/outbox/pipeline.hpp"

#include "relay/process/crash_point.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"
#include "relay/outbox/wall_clock.hpp"

#include <cstdio>
#include <ctime>

namespace once::outbox {
namespace {

using std::chrono::milliseconds;

// One wait inside source or sink; between two of them stop and heartbeat are looked at.
constexpr milliseconds kSlice{250};
// While a commit runs: its end is noticed this late at most.
constexpr milliseconds kBesideCommit{5};
// A commit whose end is still unknown then is given up; the position will tell.
constexpr milliseconds kCommitPatience{30000};
constexpr milliseconds kMetadata{5000};

std::string utc_now() {
    timespec now{};
    std::timespec_get(&now, TIME_UTC);
    std::tm parts{};
    gmtime_r(&now.tv_sec, &parts);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

std::int64_t oldest(const std::vector<Event> &events) {
    std::int64_t ms = 0;
    for (const Event &event : events)
        ms = ms == 0 ? event.time_ms : std::min(ms, event.time_ms);
    return ms;
}

} // namespace

std::string later_lsn(const std::string &a, const std::string &b) {
    const auto value = [](const std::string &text) {
        unsigned high = 0, low = 0;
        std::sscanf(text.c_str(), "%X/%X", &high, &low);
        return static_cast<std::uint64_t>(high) << 32 | low;
    };
    return value(a) >= value(b) ? a : b;
}

Pipeline::Pipeline(const Options &options, bool until_empty, int lane, Source &source, Sink &sink,
                   Timing &timing, LaneMetrics &metrics)
    : options_(options), until_empty_(until_empty), lane_(lane), source_(source), sink_(sink),
      timing_(timing), metrics_(metrics), backoff_(milliseconds(options.outbox.backoff_min_ms),
                                                   milliseconds(options.outbox.backoff_max_ms)) {}

void Pipeline::run() {
    while (!stopping() && !drained_) {
        try {
            if (!take_lane())
                break;
            start();
            ship();
        } catch (const SourceLost &e) {
            sink_.close();
            source_.close();
            under_way_.reset();
            if (!ever_ran_)
                throw Refusal(ExitCode::database,
                              "could not use the database: " + std::string(e.what()), {},
                              kDatabaseHint);
            metrics_.enter(WorkState::retrying);
            log::warning("session_lost", {{"lane", lane_}, {"reason", e.what()}});
            timing_.pause(backoff_.next());
        }
    }
    metrics_.enter(WorkState::stopping);
    stop_shipping();
    metrics_.enter(WorkState::stopped);
}

// Whatever could be finished is; the report spares the next relay a search.
void Pipeline::stop_shipping() {
    if (sink_.committing())
        sink_.abandon();
    sink_.close();
    source_.close();
}

bool Pipeline::stopping() {
    if (!stop_since_ && timing_.stop_requested())
        stop_since_ = timing_.now();
    return stop_since_.has_value();
}

bool Pipeline::too_late() {
    return stopping() && timing_.now() - *stop_since_ > milliseconds(options_.outbox.stop_ms);
}

void Pipeline::wait_a_little(const char *why) {
    const auto span = backoff_.next();
    log::debug("waiting", {{"lane", lane_}, {"reason", why}, {"ms", span.count()}});
    timing_.pause(span);
    metrics_.beat();
}

// --- shipping

void Pipeline::ship() {
    while (!stopping()) {
        Answer answer = source_.next(sink_.committing() ? kBesideCommit : kSlice, row_limit());
        metrics_.beat();
        bool good = true;
        if (answer.batch)
            good = ship_batch(std::move(*answer.batch));
        else if (sink_.committing())
            good = settle(milliseconds(0));
        else if (answer.looked)
            idle();
        if (good && (source_.redrive_waiting() || drained_))
            good = redrive();
        if (!good && !too_late() && !recover())
            break;
        if (drained_)
            break;
    }
    if (!settle(kCommitPatience))
        return;
    if (!drained_)
        return;
    source_.report({position_, hint_.value_or(0), true}, sink_.cluster_id());
}

void Pipeline::idle() {
    source_.progressed({position_, hint_.value_or(0), true});
    drained_ = until_empty_;
}

std::size_t Pipeline::row_limit() const {
    if (suspects_ != 0)
        return (suspects_ + 1) / 2;
    return static_cast<std::size_t>(options_.outbox.max_rows);
}

// The position passes every event of the batch, also those that are put aside.
Position Pipeline::after(const Batch &batch) const {
    Position next = head_;
    next.database_oid = identity_.database_oid;
    next.system_identifier = identity_.system_identifier;
    // A batch that goes on inside an older difference has that one's cut.
    next.timeline = std::max(batch.timeline, covered_.timeline);
    next.lsn = later_lsn(later_lsn(head_.lsn, batch.lsn), covered_.lsn);
    next.s_prev = batch.s_prev;
    next.s_now = batch.s_now;
    next.slice_seq = batch.slice_seq;
    if (!batch.slice_seq)
        next.mode.reset(); // the first difference of a new incarnation is finished
    if (!batch.events.empty()) {
        next.last_seq = batch.events.back().seq;
        next.last_id = to_text(batch.events.back().id);
    }
    return next;
}

bool Pipeline::ship_batch(Batch batch) {
    Shipment shipment;
    const std::size_t read = batch.events.size();
    shipment.position = after(batch);
    std::string lsn;
    screen(batch, lsn);
    shipment.position.lsn = later_lsn(shipment.position.lsn, lsn);
    shipment.read = read;
    if (!hand_over(batch, std::move(shipment)))
        return false;
    suspects_ -= std::min(suspects_, read);
    return sink_.ring() > 1 || settle(kCommitPatience);
}

// False: irregular, and already noted.
bool Pipeline::hand_over(const Batch &batch, Shipment shipment) {
    if (!wait_for_topics(batch))
        return false;
    shipment.events = batch.events.size();
    shipment.bytes = batch.bytes;
    shipment.oldest_ms = oldest(batch.events);
    shipment.begun = timing_.now();
    const std::int64_t first = head_.counter + 1;
    shipment.position.counter = head_.counter + static_cast<std::int64_t>(shipment.events);
    shipment.position.time = utc_now();
    const bool alone = suspects_ != 0;
    Outcome outcome = sink_.fill(batch, first, shipment.position);
    while (outcome == Outcome::ok) {
        outcome = sink_.flush(kSlice);
        metrics_.beat();
        if (outcome == Outcome::ok)
            break;
        if (outcome == Outcome::retry && !too_late())
            outcome = Outcome::ok; // reports are still coming; message timeouts bound this
    }
    if (outcome != Outcome::ok) {
        irregular("fill", outcome);
        if (sink_.trouble().kind == Trouble::Kind::message && !batch.events.empty())
            shipment.redrive ? refuse_redriven(batch) : narrow_down(batch);
        return false;
    }
    shipment.offset = sink_.record_offset();
    if (!settle(kCommitPatience)) // of the one before: its commit must be known first (R7)
        return false;
    head_ = shipment.position;
    under_way_ = std::move(shipment);
    sink_.commit();
    return !alone || settle(kCommitPatience); // while searching, one step at a time
}

bool Pipeline::wait_for_topics(const Batch &batch) {
    for (bool waited = false;; waited = true) {
        const Outcome outcome = sink_.prepare(batch, kMetadata);
        if (outcome == Outcome::ok) {
            if (waited) {
                log::info("lane_running", {{"lane", lane_}});
                metrics_.enter(WorkState::running);
            }
            return true;
        }
        if (!settle(milliseconds(0)) || stopping())
            return false;
        const Trouble &trouble = sink_.trouble();
        const bool blocked = trouble.kind == Trouble::Kind::topic;
        metrics_.enter(blocked ? WorkState::blocked : WorkState::retrying);
        log::warning(blocked ? "lane_blocked" : "kafka_away",
                     {{"lane", lane_}, {"topic", trouble.topic}, {"reason", trouble.text}});
        if (outcome != Outcome::retry)
            return false;
        source_.confirm();
        wait_a_little("topic");
    }
}

// True: nothing is under way any more, or (with no patience) it still is. False: irregular.
bool Pipeline::settle(Span patience) {
    const auto until = timing_.now() + patience;
    while (sink_.committing()) {
        const Outcome outcome = sink_.settle(std::min(patience, kSlice));
        metrics_.beat();
        if (outcome == Outcome::ok) {
            committed(*under_way_);
            under_way_.reset();
            return true;
        }
        if (outcome != Outcome::retry) {
            irregular("commit", outcome);
            return false;
        }
        if (patience == milliseconds(0))
            return true;
        if (timing_.now() >= until || too_late()) {
            irregular("commit", outcome);
            return false;
        }
    }
    return true;
}

void Pipeline::committed(const Shipment &shipment) {
    position_ = shipment.position;
    hint_ = shipment.offset;
    backoff_.reset();
    metrics_.passed(static_cast<std::int64_t>(shipment.read));
    metrics_.events += shipment.events;
    metrics_.bytes += shipment.bytes;
    metrics_.position = position_.counter;
    if (blocked_)
        runs();
    const std::chrono::duration<double> took = timing_.now() - shipment.begun;
    metrics_.commit_seconds.observe(took.count());
    metrics_.transaction_events.observe(static_cast<double>(shipment.events));
    if (shipment.oldest_ms != 0) {
        const std::int64_t age_ms = std::max<std::int64_t>(0, wall_ms() - shipment.oldest_ms);
        metrics_.lag_us = age_ms * 1000;
        metrics_.age_seconds.observe(static_cast<double>(age_ms) / 1000);
    }
    if (shipment.redrive) {
        metrics_.redriven += shipment.events;
        crash_point(CrashPoint::after_redrive_commit);
    }
    source_.progressed({position_, shipment.offset, false});
}

void Pipeline::irregular(const char *step, Outcome outcome) {
    const Trouble &trouble = sink_.trouble();
    const bool unclean = trouble.kind == Trouble::Kind::unclean;
    metrics_.ended(unclean || outcome == Outcome::retry ? TransactionOutcome::unknown
                                                        : TransactionOutcome::aborted);
    ++metrics_.producer_recycles;
    blocked_ = blocked_ || trouble.forbidden;
    metrics_.enter(trouble.kind == Trouble::Kind::topic || blocked_ ? WorkState::blocked
                                                                    : WorkState::recovering);
    log::warning(trouble.kind == Trouble::Kind::fenced ? "producer_fenced"
                 : trouble.forbidden                   ? "lane_blocked"
                                                       : "transaction_irregular",
                 {{"lane", lane_},
                  {"step", step},
                  {"outcome", to_string(outcome)},
                  {"topic", trouble.topic},
                  {"reason", trouble.text}});
    under_way_.reset();
    // What is refused for good is searched for at once, an unclean commit was a good one.
    if (!unclean && trouble.kind != Trouble::Kind::message)
        timing_.pause(backoff_.next());
}

} // namespace once::outbox
