#include "relay/outbox/shipper.hpp"

#include "relay/process/crash_point.hpp"
#include "relay/process/log.hpp"

#include <cstdio>

namespace once::outbox {
namespace {

using std::chrono::milliseconds;

// One wait for the source; between two of them stop and heartbeat are looked at.
constexpr milliseconds kSlice{250};
// While a commit runs: its end is noticed this late at most.
constexpr milliseconds kBesideCommit{5};
constexpr milliseconds kMetadata{5000};
constexpr milliseconds kCommitPatience = Transactions::kCommitPatience;

} // namespace

std::string later_lsn(const std::string &a, const std::string &b) {
    const auto value = [](const std::string &text) {
        unsigned high = 0, low = 0;
        std::sscanf(text.c_str(), "%X/%X", &high, &low);
        return static_cast<std::uint64_t>(high) << 32 | low;
    };
    return value(a) >= value(b) ? a : b;
}

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
    Answer answer = source_.next(transport_.committing() ? kBesideCommit : kSlice, row_limit());
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

std::size_t Shipper::row_limit() const {
    if (quarantine_.searching())
        return quarantine_.next_attempt();
    return static_cast<std::size_t>(control_.options().outbox.max_rows);
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
    shipment.position.lsn = later_lsn(shipment.position.lsn, lsn);
    if (!wait_for_topics(batch))
        return false;
    if (const End end = transactions_.hand_over(batch, std::move(shipment))) {
        if (end->trouble.kind == Trouble::Kind::message && !batch.events.empty())
            quarantine_.refused(batch, end->trouble, transactions_.position());
        return false;
    }
    quarantine_.passed(read);
    return transport_.ring() > 1 || settled(kCommitPatience);
}

// False: the transaction before ended irregularly, or somebody asked to stop.
bool Shipper::wait_for_topics(const Batch &batch) {
    while (transport_.prepare(batch, kMetadata) != Outcome::ok) {
        const Trouble trouble = transport_.trouble();
        if (!settled(milliseconds(0)) || control_.stopping())
            return false;
        const bool blocked = trouble.kind == Trouble::Kind::topic;
        control_.on(blocked ? LaneCause::right_missing : LaneCause::server_away);
        log::warning(
            blocked ? "lane_blocked" : "kafka_away",
            {{"lane", control_.lane()}, {"topic", trouble.topic}, {"reason", trouble.text}});
        source_.confirm();
        control_.wait_a_little("topic");
    }
    control_.on(LaneCause::topics_usable);
    return true;
}

// Between two batches: one key's wanted entries in one Kafka transaction whose position carries
// their number.
bool Shipper::redrive(bool &drained) {
    if (!settled(kCommitPatience))
        return false;
    const auto next = quarantine_.next_redrive(transactions_.position());
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
    if (!wait_for_topics(next->batch))
        return false;
    if (const End end = transactions_.hand_over(next->batch, std::move(shipment))) {
        if (end->trouble.kind == Trouble::Kind::message)
            quarantine_.refused_again(next->batch, end->trouble);
        return false;
    }
    quarantine_.redriven(*next, transactions_.position());
    return true;
}

} // namespace once::outbox
