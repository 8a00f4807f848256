// The pipeline's dealings with refused messages: finding them by halves, putting them aside,
// holding their keys, shipping them again.
#include "relay/outbox/pipeline.hpp"

#include "relay/process/crash_point.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"
#include "relay/outbox/wall_clock.hpp"

#include <algorithm>

namespace once::outbox {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kCommitPatience{30000};

// What is refused for its time and is younger than this was not refused for its age.
constexpr std::int64_t kYoungMs = 3600'000;

bool is_young(const Event &event) {
    return wall_ms() - event.time_ms < kYoungMs;
}

std::string policy_name(PoisonPolicy policy) {
    return std::string(to_string(policy));
}

} // namespace

// Takes out of the batch what must not ship on the main path; what a held key adds is put aside
// first, committed, before the transaction that passes over it.
void Pipeline::screen(Batch &batch, std::string &lsn) {
    if (in_kafka_ && head_.mode == "missing")
        std::erase_if(batch.events, [&](const Event &event) {
            return std::binary_search(in_kafka_->begin(), in_kafka_->end(), event.id);
        });
    else
        in_kafka_.reset();
    if (dead_letters_.empty())
        return;
    std::vector<std::int64_t> behind;
    for (const Event &event : batch.events)
        if (!dead_letters_.is_parked(event.seq) && dead_letters_.is_held(event))
            behind.push_back(event.seq);
    if (!behind.empty()) {
        lsn = source_.park(behind, "an earlier event of its key was refused",
                           policy_name(PoisonPolicy::hold_key), position_.redrive_no);
        for (const Event &event : batch.events)
            if (dead_letters_.is_held(event))
                dead_letters_.park(event, true);
    }
    std::erase_if(batch.events,
                  [&](const Event &event) { return dead_letters_.is_parked(event.seq); });
    batch.bytes = 0;
    for (const Event &event : batch.events)
        batch.bytes += event.size();
}

// A refused request fails its neighbours too: the next attempt takes half of those that can be it.
void Pipeline::narrow_down(const Batch &batch) {
    const std::size_t sent = batch.events.size();
    if (sent == 1 && sink_.trouble().for_time && is_young(batch.events.front())) {
        suspects_ = 1; // no fault of the event: it waits for a clock
        blocked_ = true;
        metrics_.enter(WorkState::blocked);
        log::warning(
            "lane_blocked",
            {{"lane", lane_}, {"topic", sink_.trouble().topic}, {"reason", kClocksDiffer}});
        wait_a_little("clock");
        return;
    }
    if (sent == 1) {
        suspects_ = 0;
        put_aside(batch.events.front());
        return;
    }
    const std::size_t named = sink_.trouble().suspects;
    suspects_ = named == 0 ? sent : std::min(named, sent);
    log::info("searching_refused_message", {{"lane", lane_}, {"among", suspects_}});
}

void Pipeline::put_aside(const Event &event) {
    const std::string error = sink_.trouble().text;
    const PoisonPolicy policy = options_.outbox.on_poison;
    const std::string what =
        "event " + std::to_string(event.seq) + " for topic \"" + std::string(event.topic) + "\"";
    if (policy == PoisonPolicy::stop)
        throw Refusal(ExitCode::kafka, "Kafka refuses " + what + ": " + error,
                      "Its id is " + to_text(event.id) + ".",
                      "Repair the cause, or let outbox.on_poison be hold_key or skip.");
    source_.park({event.seq}, error, policy_name(policy), position_.redrive_no);
    dead_letters_.park(event, policy == PoisonPolicy::hold_key);
    metrics_.keys_held = static_cast<std::int64_t>(dead_letters_.held_count());
    log::warning("message_put_aside", {{"lane", lane_},
                                       {"seq", event.seq},
                                       {"id", to_text(event.id)},
                                       {"topic", event.topic},
                                       {"policy", policy_name(policy)},
                                       {"reason", error}});
}

// Between two batches: one key's wanted entries in one Kafka transaction whose position carries
// their number. True: nothing irregular.
bool Pipeline::redrive() {
    if (!settle(kCommitPatience))
        return false;
    const auto next = source_.next_redrive(position_);
    if (!next)
        return true;
    drained_ = false;
    return ship_redrive(*next);
}

bool Pipeline::ship_redrive(const Redrive &what) {
    Shipment shipment;
    shipment.redrive = true;
    shipment.position = head_;
    shipment.position.redrive_no = what.number;
    shipment.position.lsn = later_lsn(head_.lsn, what.batch.lsn);
    shipment.position.timeline = what.batch.timeline;
    crash_point(CrashPoint::before_redrive_commit);
    if (!hand_over(what.batch, std::move(shipment)) || !settle(kCommitPatience))
        return false;
    log::info("redriven",
              {{"lane", lane_}, {"number", what.number}, {"events", what.batch.events.size()}});
    dead_letters_.hold_only(source_.held_keys(position_.redrive_no));
    metrics_.keys_held = static_cast<std::int64_t>(dead_letters_.held_count());
    return true;
}

// What stands in one number ships in one transaction: to find the refused entry, the second half
// gives the number back. Alone and refused: it stops being wanted, with all behind it.
void Pipeline::refuse_redriven(const Batch &batch) {
    const std::size_t sent = batch.events.size();
    if (sent == 1) {
        const Event &event = batch.events.front();
        log::warning("refused_again", {{"lane", lane_},
                                       {"seq", event.seq},
                                       {"id", to_text(event.id)},
                                       {"reason", sink_.trouble().text}});
        source_.redrive_refused(event.seq);
        return;
    }
    std::vector<Uuid> second_half;
    for (std::size_t i = (sent + 1) / 2; i < sent; ++i)
        second_half.push_back(batch.events[i].id);
    source_.redrive_unstamp(second_half);
}

} // namespace once::outbox
