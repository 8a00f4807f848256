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
    if (trouble.for_time && sent == 1 && is_young(batch.events.front())) {
        suspects_ = 1; // no fault of the event: it waits for a clock
        control_.on(LaneCause::message_waits);
        log::warning("lane_blocked", {{"lane", control_.lane()},
                                      {"topic", trouble.topic},
                                      {"attempt", control_.metrics().failed_attempts.load()},
                                      {"reason", kClocksDiffer}});
        control_.wait_a_little("clock");
        return;
    }
    const bool named = !trouble.culprits.empty() && !trouble.for_time;
    if (named || sent == 1) {
        suspects_ = 0;
        put_aside(batch, named ? trouble.culprits : std::vector<Culprit>{{0, trouble.text}},
                  position);
        return;
    }
    suspects_ = trouble.suspects == 0 ? sent : std::min(trouble.suspects, sent);
    log::info("searching_refused_message", {{"lane", control_.lane()}, {"among", suspects_}});
}

std::string Quarantine::put_aside(const Batch &batch, const std::vector<Culprit> &culprits,
                                  const Position &position) {
    const PoisonPolicy policy = control_.options().outbox.on_poison;
    const Event &first = batch.events[culprits.front().index];
    const std::string what =
        "event " + std::to_string(first.seq) + " for topic \"" + std::string(first.topic) + "\"";
    if (policy == PoisonPolicy::stop)
        throw Refusal(ExitCode::kafka, "Kafka refuses " + what + ": " + culprits.front().reason,
                      "Its id is " + to_text(first.id) + ".",
                      "Repair the cause, or let outbox.on_poison be hold_key or skip.");
    std::vector<std::int64_t> seqs;
    std::string lsn;
    for (std::size_t i = 0; i < culprits.size(); ++i) {
        seqs.push_back(batch.events[culprits[i].index].seq);
        if (i + 1 < culprits.size() && culprits[i + 1].reason == culprits[i].reason)
            continue;
        lsn = source_.park(seqs, culprits[i].reason, policy_name(policy), position.redrive_no);
        seqs.clear();
    }
    for (const Culprit &culprit : culprits)
        dead_letters_.park(batch.events[culprit.index], policy == PoisonPolicy::hold_key);
    count_held();
    log::warning("message_put_aside", {{"lane", control_.lane()},
                                       {"seq", first.seq},
                                       {"id", to_text(first.id)},
                                       {"topic", first.topic},
                                       {"events", culprits.size()},
                                       {"policy", policy_name(policy)},
                                       {"reason", culprits.front().reason}});
    return lsn;
}

void Quarantine::redriven(const Redrive &what, const Position &position) {
    log::info(
        "redriven",
        {{"lane", control_.lane()}, {"number", what.number}, {"events", what.batch.events.size()}});
    dead_letters_.hold_only(source_.held_keys(position.redrive_no));
    count_held();
}

// They stop being wanted, with all behind them of their key.
void Quarantine::refused_again(const Batch &batch, const std::vector<Culprit> &culprits) {
    for (const Culprit &culprit : culprits) {
        const Event &event = batch.events[culprit.index];
        log::warning("refused_again", {{"lane", control_.lane()},
                                       {"seq", event.seq},
                                       {"id", to_text(event.id)},
                                       {"reason", culprit.reason}});
        source_.redrive_refused(event.seq);
    }
}

// What stands in one number ships in one transaction: the second half gives the number back.
void Quarantine::take_back_half(const Batch &batch) {
    const std::size_t sent = batch.events.size();
    std::vector<Uuid> second_half;
    for (std::size_t i = (sent + 1) / 2; i < sent; ++i)
        second_half.push_back(batch.events[i].id);
    if (!second_half.empty())
        source_.redrive_unstamp(second_half);
}

} // namespace once::outbox
