// Reads events behind a position, piece by piece: cuts a snapshot, reads the difference whole when
// it is small (narrow) and in slices when it is not (wide). Lives in the session's thread.
#pragma once

#include "relay/postgres/session.hpp"
#include "relay/outbox/difference.hpp"
#include "relay/outbox/source.hpp"

#include <optional>

namespace once::outbox {

struct ReadLimits {
    std::size_t rows = 20000;
    std::size_t slice_rows = 20000;
    std::size_t bytes = 16u << 20;
};

class DifferenceReader {
  public:
    DifferenceReader(int lane, ReadLimits limits) : lane_(lane), limits_(limits) {}

    void resume(const Position &position);
    // Nothing: the difference up to now is empty. At most this size, at least one row.
    std::optional<Batch> next(postgres::Session &session, ReadSize most);

    // In the middle of a difference, or the last piece was big: the next one is there for sure or
    // soon, so it is worth reading ahead.
    bool eager() const { return open_.has_value() || last_rows_ >= kEagerRows; }
    const std::string &before() const { return s_prev_; }
    // Numbers of the open difference that no slice has passed yet: an estimate, numbers have holes.
    std::int64_t behind() const {
        return open_ && open_->until > open_->after ? open_->until - open_->after : 0;
    }

  private:
    // A difference that is being read in slices.
    struct Open {
        Difference difference;
        Cut cut;
        std::int64_t after; // passed in it
        std::int64_t until; // highest seq that can belong to it
    };

    std::optional<Batch> read_narrow(postgres::Session &session, const Open &what, ReadSize most);
    std::optional<Batch> read_slice(postgres::Session &session, ReadSize most);
    void open_wide(postgres::Session &session, Open what, std::optional<std::int64_t> after);
    // True when the whole answer fitted.
    bool read(postgres::Session &session, const std::string &query, std::size_t bytes,
              Batch &batch);
    Batch begin_batch(const Open &what) const;
    void finish(const Open &what);
    void announce(Batch &batch);
    void learn(const Batch &batch);

    // A slice looks at no more numbers than this, so that no statement runs for long without a row.
    static constexpr std::int64_t kWindow = 2'000'000;
    static constexpr std::size_t kEagerRows = 1000;

    int lane_;
    ReadLimits limits_;
    std::string s_prev_;
    wire::Snapshot s_prev_parsed_;
    // s_now of the last batch that finished a difference. Lags behind s_prev while differences are
    // empty: the next batch names both together, so that each record follows its predecessor.
    std::string announced_;
    std::int64_t passed_seq_ = 0; // whatever began after s_prev has a higher seq than this
    std::optional<Open> open_;
    bool sliced_ = false; // slices of it have been announced
    std::optional<Position>
        resumed_inside_; // position in the middle of a difference, not opened yet
    std::size_t last_rows_ = 0;
    double row_bytes_ = 300; // average of late
};

// once.cut
Cut take_cut(postgres::Session &session, int lane);

} // namespace once::outbox
