// What every part of a lane's control shares: its state, the time, the wish to stop.
#pragma once

#include "relay/options.hpp"
#include "relay/outbox/lane_state.hpp"
#include "relay/outbox/timing.hpp"
#include "relay/process/backoff.hpp"
#include "relay/process/metrics.hpp"

#include <optional>

namespace once::outbox {

class LaneControl {
  public:
    using Span = Timing::Span;

    LaneControl(const Options &options, bool until_empty, int lane, Timing &timing,
                LaneMetrics &metrics);

    const Options &options() const { return options_; }
    bool until_empty() const { return until_empty_; }
    int lane() const { return lane_; }
    LaneMetrics &metrics() { return metrics_; }

    LaneState state() const { return state_; }
    void on(LaneCause cause);
    // A refusal at the very first start is a configuration error; later it is somebody's change.
    bool ever_ran() const { return ever_ran_; }
    void has_run() { ever_ran_ = true; }

    Timing::Instant now() { return timing_.now(); }
    void beat() { metrics_.beat(); }
    void pause(Span span) { timing_.pause(span); }
    // The next pause of a row that grows until made_progress().
    void pause_after_failure() { timing_.pause(backoff_.next()); }
    void wait_a_little(const char *why);
    void made_progress() { backoff_.reset(); }

    bool stopping(); // asked to stop
    bool too_late(); // and the time for finishing is over

  private:
    const Options &options_;
    const bool until_empty_;
    const int lane_;
    Timing &timing_;
    LaneMetrics &metrics_;
    Backoff backoff_;
    LaneState state_ = LaneState::connecting;
    bool ever_ran_ = false;
    std::optional<Timing::Instant> stop_since_;
};

} // namespace once::outbox
