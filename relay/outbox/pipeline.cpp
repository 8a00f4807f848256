#include "relay/outbox/pipeline.hpp"

#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"

namespace once::outbox {

Pipeline::Pipeline(const Options &options, bool until_empty, int lane, Source &source,
                   Transport &transport, Checkpoint &checkpoint, Timing &timing,
                   LaneMetrics &metrics)
    : source_(source), transport_(transport), checkpoint_(checkpoint),
      control_(options, until_empty, lane, timing, metrics),
      transactions_(control_, source, transport, checkpoint),
      start_(control_, source, transport, checkpoint, transactions_), quarantine_(control_, source),
      shipper_(control_, source, transport, transactions_, quarantine_) {}

void Pipeline::run() {
    while (!control_.stopping()) {
        try {
            if (!hold_lane())
                break;
        } catch (const SourceLost &e) {
            lost(e.what());
        }
    }
    control_.on(LaneCause::asked_to_stop);
    // Whatever could be finished is; the report spares the next relay a search.
    transport_.abandon();
    source_.close();
    control_.on(LaneCause::ended);
}

bool Pipeline::hold_lane() {
    if (!start_.take_lane())
        return false;
    if (!start_.prove_history())
        return true;
    while (auto point = start_.recover(quarantine_.knows_topics())) {
        control_.has_run();
        quarantine_.load(std::move(*point));
        source_.resume(transactions_.position());
        control_.on(LaneCause::checkpoint_read);
        switch (shipper_.ship(start_.identity())) {
        case Shipper::Ended::irregular:
            control_.on(LaneCause::irregular_end);
            continue;
        case Shipper::Ended::drained:
            source_.report({transactions_.position(), transactions_.offset().value_or(0), true},
                           checkpoint_.cluster_id());
            return false;
        case Shipper::Ended::stopped:
            return true;
        }
    }
    return true;
}

void Pipeline::lost(const std::string &why) {
    transport_.close();
    source_.close();
    transactions_.forget();
    if (!control_.ever_ran())
        throw Refusal(ExitCode::database, "could not use the database: " + why, {}, kDatabaseHint);
    control_.on(LaneCause::session_lost);
    log::warning(
        "session_lost",
        {{"lane", control_.lane()}, {"attempt", control_.metrics().failed()}, {"reason", why}});
    control_.pause_after_failure();
}

} // namespace once::outbox
