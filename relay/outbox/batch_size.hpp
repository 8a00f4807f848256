// How much the next transaction may carry. Pure: told how the last ones ended, says how many rows
// and bytes come next. After any failure the next attempt is smaller in both; after successes it
// grows again, slowly where it failed before. Never more than a few seconds' worth at the rate
// seen.
#pragma once

#include <chrono>
#include <cstddef>

namespace once::outbox {

struct ReadSize {
    std::size_t rows = 0;
    std::size_t bytes = 0;

    bool operator==(const ReadSize &) const = default;
};

class BatchSize {
  public:
    using Span = std::chrono::milliseconds;
    static constexpr Span kWorth{5000};

    // `worth`: how long a transaction may take, at the rate seen.
    explicit BatchSize(ReadSize most, Span worth = kWorth)
        : most_(most), worth_(worth), now_(most), rate_bytes_(most.bytes) {}

    ReadSize next() const;
    // A transaction of this size did not go through as it was.
    void failed(ReadSize tried);
    // It did, and the transport was busy with it for so long. `full`: a limit ended it, more waits.
    void passed(ReadSize carried, Span took, bool full);

  private:
    bool may_grow(const ReadSize &grown);

    const ReadSize most_;
    const Span worth_;
    ReadSize now_;
    std::size_t rate_bytes_;    // `worth_` of it
    ReadSize wall_;             // size of the last failure; rows = 0: none known
    std::size_t caution_ = 0;   // good transactions wanted before trying near the wall again
    std::size_t good_ = 0;      // since the last failure or growth near the wall
    bool passed_since_ = false; // anything, since the last failure
};

} // namespace once::outbox
