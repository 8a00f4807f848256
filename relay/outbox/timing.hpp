// Time as the pipeline sees it, so that tests need none.
#pragma once

#include <chrono>

namespace once::outbox {

class Timing {
  public:
    using Instant = std::chrono::steady_clock::time_point;
    using Span = std::chrono::milliseconds;
    virtual ~Timing() = default;

    virtual Instant now() = 0;
    // Sleeps; returns early when a stop is requested.
    virtual void pause(Span span) = 0;
    virtual bool stop_requested() = 0;
};

} // namespace once::outbox
