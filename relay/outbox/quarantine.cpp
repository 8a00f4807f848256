#include "relay/outbox/quarantine.hpp"

#include "relay/outbox/wall_clock.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"

#include <algorithm>

namespace once::outbox {
namespace {

// What is refused for its time and is younger than this was not refused for its age.
constexpr std::int64_t kYoungMs = 3600'000;

bool is_young(const Event &event) {
    return wall_ms() - event.time_ms < kYoungMs;
}

std::string policy_name(PoisonPolicy policy) {
    return std::string(to_string(policy));
}

} // namespace

void Quarantine::load(StartingPoint point) {
    if (point.in_kafka)
        in_kafka_ = std::move(point.in_kafka);
    dead_letters_.load(source_.parked_seqs(0), source_.held_keys(point.position.redrive_no));
    count_held();
    covered_ = source_.cut();
}

void Quarantine::count_held() {
    control_.metrics().keys_held = static_cast<std::int64_t>(dead_letters_.held_count());
}

void Quarantine::screen(Batch &batch, const Position &position, const Position &head,
                        std::string &lsn) {
    if (in_kafka_ && head.mode == "missing")
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
                           policy_name(PoisonPolicy::hold_key), position.redrive_no);
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

// A refused request fails its neighbours too.
void Quarantine::refused(const Batch &batch, const Trouble &trouble, const Position &position) {
    const std::size_t sent = batch.events.size();
    if (sent == 1 && trouble.for_time && is_young(batch.events.front())) {
        suspects_ = 1; // no fault of the event: it waits for a clock
        control_.on(LaneCause::message_waits);
        log::warning(
            "lane_blocked",
            {{"lane", control_.lane()}, {"topic", trouble.topic}, {"reason", kClocksDiffer}});
        control_.wait_a_little("clock");
        return;
    }
    if (sent == 1) {
        suspects_ = 0;
        put_aside(batch.events.front(), trouble.text, position);
        return;
    }
    suspects_ = trouble.suspects == 0 ? sent : std::min(trouble.suspects, sent);
    log::info("searching_refused_message", {{"lane", control_.lane()}, {"among", suspects_}});
}

void Quarantine::put_aside(const Event &event, const std::string &error, const Position &position) {
    const PoisonPolicy policy = control_.options().outbox.on_poison;
    const std::string what =
        "event " + std::to_string(event.seq) + " for topic \"" + std::string(event.topic) + "\"";
    if (policy == PoisonPolicy::stop)
        throw Refusal(ExitCode::kafka, "Kafka refuses " + what + ": " + error,
                      "Its id is " + to_text(event.id) + ".",
                      "Repair the cause, or let outbox.on_poison be hold_key or skip.");
    source_.park({event.seq}, error, policy_name(policy), position.redrive_no);
    dead_letters_.park(event, policy == PoisonPolicy::hold_key);
    count_held();
    log::warning("message_put_aside", {{"lane", control_.lane()},
                                       {"seq", event.seq},
                                       {"id", to_text(event.id)},
                                       {"topic", event.topic},
                                       {"policy", policy_name(policy)},
                                       {"reason", error}});
}

void Quarantine::redriven(const Redrive &what, const Position &position) {
    log::info(
        "redriven",
        {{"lane", control_.lane()}, {"number", what.number}, {"events", what.batch.events.size()}});
    dead_letters_.hold_only(source_.held_keys(position.redrive_no));
    count_held();
}

// What stands in one number ships in one transaction: to find the refused entry, the second half
// gives the number back. Alone and refused: it stops being wanted, with all behind it.
void Quarantine::refused_again(const Batch &batch, const Trouble &trouble) {
    const std::size_t sent = batch.events.size();
    if (sent == 1) {
        const Event &event = batch.events.front();
        log::warning("refused_again", {{"lane", control_.lane()},
                                       {"seq", event.seq},
                                       {"id", to_text(event.id)},
                                       {"reason", trouble.text}});
        source_.redrive_refused(event.seq);
        return;
    }
    std::vector<Uuid> second_half;
    for (std::size_t i = (sent + 1) / 2; i < sent; ++i)
        second_half.push_back(batch.events[i].id);
    source_.redrive_unstamp(second_half);
}

} // namespace once::outbox
