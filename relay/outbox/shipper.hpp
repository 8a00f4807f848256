// The running state: batches from the source, one transaction each, and between two of them what an
// operator wants shipped again.
#pragma once

#include "relay/outbox/batch_size.hpp"
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
            Quarantine &quarantine);

    // Until something irregular happened (the producers are spent), nothing is left, or somebody
    // asked to stop.
    Ended ship(const Identity &identity);

  private:
    [[nodiscard]] bool ship_next(const Identity &identity, bool &drained);
    [[nodiscard]] bool ship_batch(const Identity &identity, Batch batch);
    [[nodiscard]] bool redrive(bool &drained);
    // Culprits that are known before anything is sent; none: the transaction before ended
    // irregularly, or somebody asked to stop.
    std::optional<std::vector<Culprit>> prepare(const Batch &batch);
    [[nodiscard]] bool wait_for(const Preparation &found);
    void failed(const Batch &batch, const Irregular &end);
    void failed_redrive(const Batch &batch, const Irregular &end);
    [[nodiscard]] bool settled(Timing::Span patience) {
        return !transactions_.await_commit(patience);
    }
    Position after(const Identity &identity, const Batch &batch) const;
    ReadSize read_size() const;

    LaneControl &control_;
    Source &source_;
    Transport &transport_;
    Transactions &transactions_;
    Quarantine &quarantine_;
    BatchSize size_;
};

} // namespace once::outbox
