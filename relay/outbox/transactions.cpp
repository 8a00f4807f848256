#include "relay/outbox/transactions.hpp"

#include "relay/outbox/wall_clock.hpp"
#include "relay/process/crash_point.hpp"
#include "relay/process/log.hpp"

#include <ctime>

namespace once::outbox {
namespace {

using std::chrono::milliseconds;

// One wait inside the transport; between two of them stop and heartbeat are looked at.
constexpr milliseconds kSlice{250};
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

void Transactions::go_on_from(const Position &position, std::optional<std::int64_t> offset) {
    position_ = head_ = position;
    offset_ = offset;
    under_way_.reset();
}

End Transactions::hand_over(const Batch &batch, Shipment shipment) {
    shipment.events = batch.events.size();
    shipment.bytes = batch.bytes;
    shipment.oldest_ms = oldest(batch.events);
    shipment.begun = control_.now();
    const std::int64_t first = head_.counter + 1;
    shipment.position.counter = head_.counter + static_cast<std::int64_t>(shipment.events);
    shipment.position.time = utc_now();
    Outcome outcome = transport_.fill(batch, first, shipment.position);
    if (outcome == Outcome::ok)
        outcome = flush();
    if (outcome != Outcome::ok)
        return irregular("fill", outcome, transport_.trouble());
    shipment.offset = checkpoint_.record_offset();
    // Of the one before: its commit must be known first (R7).
    if (End end = await_commit(kCommitPatience))
        return end;
    head_ = shipment.position;
    const bool alone = shipment.alone;
    under_way_ = std::move(shipment);
    transport_.commit();
    End end = alone ? await_commit(kCommitPatience) : End{};
    if (end)
        end->asked_to_commit = true;
    return end;
}

// Message timeouts bound this.
Outcome Transactions::flush() {
    for (;;) {
        const Outcome outcome = transport_.flush(kSlice);
        control_.beat();
        if (outcome != Outcome::retry || control_.too_late())
            return outcome;
    }
}

End Transactions::await_commit(Span patience) {
    const auto until = control_.now() + patience;
    while (transport_.committing()) {
        const Outcome outcome = transport_.await_commit(std::min(patience, kSlice));
        control_.beat();
        if (outcome == Outcome::ok) {
            committed(*under_way_);
            under_way_.reset();
            return {};
        }
        if (outcome != Outcome::retry)
            return irregular("commit", outcome, transport_.trouble());
        if (patience == milliseconds(0))
            return {};
        if (control_.now() >= until || control_.too_late())
            return irregular("commit", outcome, transport_.trouble());
    }
    return {};
}

End Transactions::commit_alone(const Position &position) {
    head_ = position;
    // The checkpoint topic is known to the producer of this turn, or is asked for.
    const auto until = control_.now() + kMetadata;
    for (auto found = transport_.prepare(Batch{}, kSlice); found.kind != Preparation::Kind::ready;
         found = transport_.prepare(Batch{}, kSlice)) {
        control_.beat();
        const bool pending = found.kind == Preparation::Kind::pending;
        if (!pending || control_.stopping() || control_.now() >= until) {
            Trouble why;
            why.text = "checkpoint topic: " + found.text;
            return irregular("prepare", Outcome::abort, why);
        }
    }
    Shipment shipment;
    shipment.position = position;
    shipment.alone = true;
    return hand_over(Batch{}, std::move(shipment));
}

void Transactions::committed(const Shipment &shipment) {
    position_ = shipment.position;
    offset_ = shipment.offset;
    control_.made_progress();
    LaneMetrics &metrics = control_.metrics();
    metrics.passed(static_cast<std::int64_t>(shipment.read));
    metrics.events += shipment.events;
    metrics.bytes += shipment.bytes;
    metrics.position = position_.counter;
    control_.on(LaneCause::committed);
    const std::chrono::duration<double> took = control_.now() - shipment.begun;
    metrics.commit_seconds.observe(took.count());
    metrics.transaction_events.observe(static_cast<double>(shipment.events));
    if (shipment.oldest_ms != 0) {
        const std::int64_t age_ms = std::max<std::int64_t>(0, wall_ms() - shipment.oldest_ms);
        metrics.lag_us = age_ms * 1000;
        metrics.age_seconds.observe(static_cast<double>(age_ms) / 1000);
    }
    if (shipment.redrive) {
        metrics.redriven += shipment.events;
        crash_point(CrashPoint::after_redrive_commit);
    }
    source_.progressed({position_, shipment.offset, false});
}

Irregular Transactions::irregular(const char *step, Outcome outcome, Trouble why) {
    const Irregular what{step, outcome, std::move(why)};
    const Trouble &trouble = what.trouble;
    const bool unclean = trouble.kind == Trouble::Kind::unclean;
    LaneMetrics &metrics = control_.metrics();
    metrics.ended(unclean || outcome == Outcome::retry ? TransactionOutcome::unknown
                                                       : TransactionOutcome::aborted);
    ++metrics.producer_recycles;
    // An unclean one was committed: the next begins somewhere else.
    const std::int64_t attempt = unclean ? metrics.failed_attempts.load() : metrics.failed();
    control_.on(trouble.forbidden ? LaneCause::message_waits : LaneCause::irregular_end);
    log::warning(trouble.kind == Trouble::Kind::fenced ? "producer_fenced"
                 : trouble.forbidden                   ? "lane_blocked"
                                                       : "transaction_irregular",
                 {{"lane", control_.lane()},
                  {"step", step},
                  {"outcome", to_string(outcome)},
                  {"topic", trouble.topic},
                  {"attempt", attempt},
                  {"reason", trouble.text}});
    under_way_.reset();
    // Do not back off after a permanent rejection (bisect at once) or an unclean commit (it did
    // commit).
    if (!unclean && trouble.kind != Trouble::Kind::message &&
        trouble.kind != Trouble::Kind::batches)
        control_.pause_after_failure();
    return what;
}

} // namespace once::outbox
