#include "relay/outbox/shipper.hpp"

#include "relay/process/crash_point.hpp"
#include "relay/process/log.hpp"

#include <algorithm>
#include <cstdio>

namespace once::outbox {
namespace {

using std::chrono::milliseconds;

// One wait for the source; between two of them stop and heartbeat are looked at.
constexpr milliseconds kSlice{250};
// While a commit runs: its end is noticed this late at most.
constexpr milliseconds kBesideCommit{5};
constexpr milliseconds kCommitPatience = Transactions::kCommitPatience;

// In the unit of the limits: bytes as they were read, with what surrounds each event.
ReadSize size_of(const Batch &batch) {
    return {batch.events.size(), batch.arena ? batch.arena->size() : batch.bytes};
}

} // namespace

std::string later_lsn(const std::string &a, const std::string &b) {
    const auto value = [](const std::string &text) {
        unsigned high = 0, low = 0;
        std::sscanf(text.c_str(), "%X/%X", &high, &low);
        return static_cast<std::uint64_t>(high) << 32 | low;
    };
    return value(a) >= value(b) ? a : b;
}

Shipper::Shipper(LaneControl &control, Source &source, Transport &transport,
                 Transactions &transactions, Quarantine &quarantine)
    : control_(control), source_(source), transport_(transport), transactions_(transactions),
      quarantine_(quarantine),
      size_({static_cast<std::size_t>(control.options().outbox.max_rows),
             static_cast<std::size_t>(control.options().outbox.max_bytes)},
            // well within the time that brokers give a transaction
            std::min(BatchSize::kWorth,
                     milliseconds(control.options().kafka.transaction_timeout_ms) / 3)) {}

Shipper::Ended Shipper::ship(const Identity &identity) {
    bool drained = false;
    while (!control_.stopping() && !drained)
        if (!ship_next(identity, drained) && !control_.too_late())
            return Ended::irregular;
    if (!settled(kCommitPatience))
        return control_.stopping() ? Ended::stopped : Ended::irregular;
    return drained ? Ended::drained : Ended::stopped;
}

bool Shipper::ship_next(const Identity &identity, bool &drained) {
    Answer answer = source_.next(transport_.committing() ? kBesideCommit : kSlice, read_size());
    control_.beat();
    if (answer.batch) {
        if (!ship_batch(identity, std::move(*answer.batch)))
            return false;
    } else if (transport_.committing()) {
        if (!settled(milliseconds(0)))
            return false;
    } else if (answer.looked) {
        source_.progressed({transactions_.position(), transactions_.offset().value_or(0), true});
        drained = control_.until_empty();
    }
    return !(quarantine_.redrive_waiting() || drained) || redrive(drained);
}

ReadSize Shipper::read_size() const {
    ReadSize size = size_.next();
    if (quarantine_.searching())
        size.rows = std::min(size.rows, quarantine_.next_attempt());
    return size;
}

// The position passes every event of the batch, also those that are put aside.
Position Shipper::after(const Identity &identity, const Batch &batch) const {
    const Position &head = transactions_.head();
    const Cut &covered = quarantine_.covered();
    Position next = head;
    next.database_oid = identity.database_oid;
    next.system_identifier = identity.system_identifier;
    // A batch that goes on inside an older difference has that one's cut.
    next.timeline = std::max(batch.timeline, covered.timeline);
    next.lsn = later_lsn(later_lsn(head.lsn, batch.lsn), covered.lsn);
    next.s_prev = batch.s_prev;
    next.s_now = batch.s_now;
    next.slice_seq = batch.slice_seq;
    if (!batch.slice_seq)
        next.mode.reset(); // the first difference of a new incarnation is finished
    if (!batch.events.empty()) {
        next.last_seq = batch.events.back().seq;
        next.last_id = to_text(batch.events.back().id);
    }
    return next;
}

bool Shipper::ship_batch(const Identity &identity, Batch batch) {
    Shipment shipment;
    shipment.read = batch.events.size();
    shipment.position = after(identity, batch);
    shipment.alone = quarantine_.searching(); // one step at a time
    const std::size_t read = shipment.read;
    std::string lsn;
    quarantine_.screen(batch, transactions_.position(), transactions_.head(), lsn);
    for (;;) {
        const auto culprits = prepare(batch);
        if (!culprits)
            return false;
        if (culprits->empty())
            break;
        lsn = later_lsn(lsn, quarantine_.put_aside(batch, *culprits, transactions_.position()));
        quarantine_.screen(batch, transactions_.position(), transactions_.head(), lsn);
    }
    shipment.position.lsn = later_lsn(shipment.position.lsn, lsn);
    const ReadSize carried = size_of(batch);
    const auto since = control_.now();
    if (const End end = transactions_.hand_over(batch, std::move(shipment))) {
        failed(batch, *end);
        return false;
    }
    size_.passed(carried, std::chrono::duration_cast<milliseconds>(control_.now() - since),
                 batch.more);
    quarantine_.passed(read);
    return transport_.ring() > 1 || settled(kCommitPatience);
}

// The next attempt is another one (K1).
void Shipper::failed(const Batch &batch, const Irregular &end) {
    if (end.asked_to_commit)
        return; // only the checkpoint tells what was committed
    switch (end.trouble.kind) {
    case Trouble::Kind::message:
        if (!batch.events.empty())
            quarantine_.refused(batch, end.trouble, transactions_.position());
        break;
    case Trouble::Kind::batches: // the transport takes smaller requests
    case Trouble::Kind::unclean: // it was committed
        break;
    default:
        size_.failed(size_of(batch));
    }
}

std::optional<std::vector<Culprit>> Shipper::prepare(const Batch &batch) {
    for (bool asked = false;; asked = true) {
        Preparation found = transport_.prepare(batch, asked ? kSlice : milliseconds(0));
        control_.beat();
        if (found.kind == Preparation::Kind::ready) {
            if (control_.state() != LaneState::running)
                control_.on(LaneCause::topics_usable);
            return std::move(found.culprits);
        }
        // Of the one before: whoever waits here must know its end.
        if (!settled(milliseconds(0)) || control_.stopping() || !wait_for(found))
            return std::nullopt;
    }
}

bool Shipper::wait_for(const Preparation &found) {
    switch (found.kind) {
    case Preparation::Kind::batches: // new producers are made, as after anything irregular
        static_cast<void>(settled(kCommitPatience));
        return false;
    case Preparation::Kind::topics:
    case Preparation::Kind::away: {
        const bool blocked = found.kind == Preparation::Kind::topics;
        control_.on(blocked ? LaneCause::right_missing : LaneCause::server_away);
        const std::string topic = blocked ? found.unusable.front().topic : std::string();
        log::warning(blocked ? "lane_blocked" : "kafka_away",
                     {{"lane", control_.lane()},
                      {"topic", topic},
                      {"attempt", control_.metrics().failed()},
                      {"reason", blocked ? found.unusable.front().text : found.text}});
        source_.confirm();
        control_.wait_a_little("topic");
        return true;
    }
    default:
        return true;
    }
}

// Between two batches: one key's wanted entries in one Kafka transaction whose position carries
// their number.
bool Shipper::redrive(bool &drained) {
    if (!settled(kCommitPatience))
        return false;
    const auto next = quarantine_.next_redrive(transactions_.position(), size_.next());
    if (!next)
        return true;
    drained = false;
    Shipment shipment;
    shipment.redrive = shipment.alone = true;
    shipment.position = transactions_.head();
    shipment.position.redrive_no = next->number;
    shipment.position.lsn = later_lsn(shipment.position.lsn, next->batch.lsn);
    shipment.position.timeline = next->batch.timeline;
    crash_point(CrashPoint::before_redrive_commit);
    const auto culprits = prepare(next->batch);
    if (!culprits)
        return false;
    if (!culprits->empty()) {
        quarantine_.refused_again(next->batch, *culprits);
        return true;
    }
    if (const End end = transactions_.hand_over(next->batch, std::move(shipment))) {
        failed_redrive(next->batch, *end);
        return false;
    }
    quarantine_.redriven(*next, transactions_.position());
    return true;
}

void Shipper::failed_redrive(const Batch &batch, const Irregular &end) {
    if (end.asked_to_commit)
        return; // it may have been shipped
    if (end.trouble.kind == Trouble::Kind::message && !end.trouble.culprits.empty())
        quarantine_.refused_again(batch, end.trouble.culprits);
    else if (end.trouble.kind == Trouble::Kind::message && batch.events.size() == 1)
        quarantine_.refused_again(batch, {{0, end.trouble.text}});
    else if (end.trouble.kind != Trouble::Kind::batches &&
             end.trouble.kind != Trouble::Kind::unclean)
        quarantine_.take_back_half(batch); // what stands in one number ships in one transaction
}

} // namespace once::outbox
