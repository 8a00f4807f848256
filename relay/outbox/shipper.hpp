// The running state: batches from the source, one transaction each, and between two of them what an
// operator wants shipped again.
#pragma once

#include "relay/outbox/lane_control.hpp"
#include "relay/outbox/quarantine.hpp"
#include "relay/outbox/source.hpp"
#include "relay/outbox/transactions.hpp"
#include "relay/outbox/transport.hpp"

namespace once::outbox {

// The later of two write-ahead log positions (X/Y, hexadecimal).
std::string later_lsn(const std::string &a, const std::string &b);

class Shipper {
  public:
    enum class Ended { stopped, drained, irregular };

    Shipper(LaneControl &control, Source &source, Transport &transport, Transactions &transactions,
            Quarantine &quarantine)
        : control_(control), source_(source), transport_(transport), transactions_(transactions),
          quarantine_(quarantine) {}

    // Until something irregular happened (the producers are spent), nothing is left, or somebody
    // asked to stop.
    Ended ship(const Identity &identity);

  private:
    [[nodiscard]] bool ship_next(const Identity &identity, bool &drained);
    [[nodiscard]] bool ship_batch(const Identity &identity, Batch batch);
    [[nodiscard]] bool redrive(bool &drained);
    [[nodiscard]] bool wait_for_topics(const Batch &batch);
    [[nodiscard]] bool settled(Timing::Span patience) {
        return !transactions_.await_commit(patience);
    }
    Position after(const Identity &identity, const Batch &batch) const;
    std::size_t row_limit() const;

    LaneControl &control_;
    Source &source_;
    Transport &transport_;
    Transactions &transactions_;
    Quarantine &quarantine_;
};

} // namespace once::outbox
