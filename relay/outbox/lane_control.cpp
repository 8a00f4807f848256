#include "relay/outbox/lane_control.hpp"

#include "relay/process/log.hpp"

namespace once::outbox {
namespace {

using std::chrono::milliseconds;

// As metrics and health know it.
WorkState work_state(LaneState state) {
    switch (state) {
    case LaneState::connecting:
    case LaneState::starting:
        return WorkState::starting;
    case LaneState::standby:
        return WorkState::standby;
    case LaneState::recovering:
        return WorkState::recovering;
    case LaneState::running:
        return WorkState::running;
    case LaneState::retrying:
        return WorkState::retrying;
    case LaneState::blocked:
    case LaneState::refused:
        return WorkState::blocked;
    case LaneState::stopping:
        return WorkState::stopping;
    case LaneState::stopped:
        break;
    }
    return WorkState::stopped;
}

} // namespace

LaneControl::LaneControl(const Options &options, bool until_empty, int lane, Timing &timing,
                         LaneMetrics &metrics)
    : options_(options), until_empty_(until_empty), lane_(lane), timing_(timing), metrics_(metrics),
      backoff_(milliseconds(options.outbox.backoff_min_ms),
               milliseconds(options.outbox.backoff_max_ms)) {}

void LaneControl::on(LaneCause cause) {
    const auto next = next_state(state_, cause);
    if (!next) { // to end a lane for a gap in a table would be worse than to show the wrong word
        ++metrics_.unexpected_causes;
        log::error("lane_state_unexpected",
                   {{"lane", lane_}, {"state", to_string(state_)}, {"cause", to_string(cause)}});
        return;
    }
    if (*next == LaneState::running && state_ != LaneState::running)
        log::info("lane_running", {{"lane", lane_}, {"position", metrics_.position.load()}});
    state_ = *next;
    metrics_.enter(work_state(state_));
}

void LaneControl::wait_a_little(const char *why) {
    const auto span = backoff_.next();
    log::debug("waiting", {{"lane", lane_}, {"reason", why}, {"ms", span.count()}});
    timing_.pause(span);
    beat();
}

bool LaneControl::stopping() {
    if (!stop_since_ && timing_.stop_requested())
        stop_since_ = timing_.now();
    return stop_since_.has_value();
}

bool LaneControl::too_late() {
    return stopping() && timing_.now() - *stop_since_ > milliseconds(options_.outbox.stop_ms);
}

} // namespace once::outbox
