// The loop that decides. Takes the lane, finds the position, ships batches, and after anything
// irregular throws the producers away, reads the position back and goes on from it.
//
//   standby ──lane──▶ starting ──position──▶ running ⇄ recovering        (blocked, retrying: waits
//   inside)
//      ▲                                        │
//      └──────────── session lost ──────────────┘
//
// Sees only the interfaces of source, sink and time; knows no SQLSTATE and no error code.
#pragma once

#include "relay/process/backoff.hpp"
#include "relay/process/metrics.hpp"
#include "relay/options.hpp"
#include "relay/outbox/dead_letters.hpp"
#include "relay/outbox/sink.hpp"
#include "relay/outbox/source.hpp"
#include "relay/outbox/timing.hpp"

#include <deque>
#include <optional>

namespace once::outbox {

class Pipeline {
  public:
    Pipeline(const Options &options, bool until_empty, int lane, Source &source, Sink &sink,
             Timing &timing, LaneMetrics &metrics);

    // Until asked to stop or, with until_empty, until nothing is left. Throws Refusal.
    void run();

  private:
    using Span = Timing::Span;

    // A transaction that was handed over, until its end is known.
    struct Shipment {
        Position position;
        std::int64_t offset = 0;
        std::size_t read = 0; // from the source, those put aside among them
        std::size_t events = 0, bytes = 0;
        std::int64_t oldest_ms = 0; // publish time of its oldest event
        Timing::Instant begun{};    // before its first message
        bool redrive = false;
    };

    // lane.cpp: from nothing to a position
    bool take_lane();
    void start();
    void reach_kafka();
    void require_same_history(const Position &position);
    std::string at_stake(const Position &position);
    std::string count_at_stake(const Position &position);
    std::int64_t first_at_stake(bool reported);
    void tell_lost(const std::vector<Uuid> &lost);
    void require_position_or_first_start(bool found);
    bool recover();
    bool reopen(ReadBack &back);
    void require_no_step_back(const Position &found);
    void fence_replaced();
    bool adopt(const ReadBack &back);
    bool begin(const ReadBack &back);
    void not_now(const char *event);
    void runs();
    bool first_start();
    bool go_on_as_asked(); // rearm mode 'continue'
    bool commit_alone(const Position &position);
    bool load_missing();
    void load_dead_letters();

    // pipeline.cpp: shipping
    void ship();
    bool ship_batch(Batch batch);
    bool hand_over(const Batch &batch, Shipment shipment);
    bool wait_for_topics(const Batch &batch);
    bool flush();
    bool settle(Span patience);
    void committed(const Shipment &shipment);
    void irregular(const char *step, Outcome outcome);
    Position after(const Batch &batch) const;
    std::size_t row_limit() const;
    void idle();
    void stop_shipping();

    // poison.cpp
    void screen(Batch &batch, std::string &lsn);
    void narrow_down(const Batch &batch);
    void put_aside(const Event &event);
    bool redrive();
    bool ship_redrive(const Redrive &what);
    void refuse_redriven(const Batch &batch);

    bool stopping(); // asked to stop
    bool too_late(); // and the time for finishing is over
    void wait_a_little(const char *why);

    const Options &options_;
    const bool until_empty_;
    const int lane_;
    Source &source_;
    Sink &sink_;
    Timing &timing_;
    LaneMetrics &metrics_;
    Backoff backoff_;

    Identity identity_;
    bool armed_ = false;
    Position position_;                // last one known to be committed
    bool ours_ = false;                // and since then nobody but us held the lane
    Cut covered_;                      // taken behind all that was put aside before
    Position head_;                    // of the last transaction that was handed over
    std::optional<std::int64_t> hint_; // offset of a record of ours
    std::optional<Shipment> under_way_;
    DeadLetters dead_letters_;
    std::size_t suspects_ = 0; // a refused message is among so many next events; 0: none known
    // Sorted ids, while mode is 'missing'. A vector would need up to three times as much to grow.
    std::optional<std::deque<Uuid>> in_kafka_;
    bool drained_ = false;
    bool ever_ran_ = false;
    bool blocked_ = false; // by a right or a clock, until a transaction is committed again
    std::optional<Timing::Instant> stop_since_;
};

// The later of two write-ahead log positions (X/Y, hexadecimal).
std::string later_lsn(const std::string &a, const std::string &b);

} // namespace once::outbox
