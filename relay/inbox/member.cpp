#include "relay/inbox/member.hpp"

#include "relay/crash_point.hpp"
#include "relay/exit_code.hpp"
#include "relay/log.hpp"
#include "relay/options.hpp"
#include "relay/stop_signal.hpp"

#include <algorithm>

namespace once::inbox {
namespace {

using std::chrono::milliseconds;

constexpr int kIdlePollMs = 200;     // nothing there: how soon a stop or a claim that is due is seen
constexpr int kAdviceMs = 1000;      // offsets to Kafka, for lag tools
constexpr int kReportMs = 1000;      // gauges
constexpr int kRedriveMs = 1000;     // look for parked messages that were set free
constexpr int kRedriveRarelyMs = 5000;
constexpr int kRedrivenAtOnce = 100; // then the main path has its turn
// Deadlocks and serialization failures in a row before a message is held to be the reason.
constexpr int kMostConflicts = 20;

bool is_conflict(const std::string &sqlstate) {
    return sqlstate.starts_with("40") || sqlstate == "55P03";
}

std::string text_of(const SqlError &error) {
    return std::string(error.what()) + " (SQLSTATE " + error.sqlstate + ")";
}

} // namespace

bool Drain::complete() const {
    return enabled && std::all_of(flags.begin(), flags.end(), [](const auto &flag) { return flag.load(); });
}

Member::Member(const Options &all_options, const InboxOptions &inbox_options,
               InboxMetrics &inbox_metrics, const StopSignal &stop_signal, Drain &group_drain,
               std::size_t member_number)
    : options(all_options), inbox(inbox_options), metrics(inbox_metrics), stop(stop_signal),
      drain(group_drain), number(member_number), backoff(milliseconds(50), milliseconds(5000)) {}

void Member::run() {
    while (!stop.requested() && !drain.complete()) {
        try {
            work_once();
        } catch (const ConnectionLost &lost) {
            lose_session(lost.what());
        } catch (const KafkaUnavailable &away) {
            retry_later(away.what());
        } catch (const SqlError &error) {
            on_own_error(error);
        }
        report();
    }
    metrics.enter(WorkState::stopping);
    close();
    metrics.enter(WorkState::stopped);
}

// The session comes first: whoever joins the group without a database only disturbs it.
void Member::work_once() {
    metrics.beat();
    const bool waiting = now_ms() < retry_at_ms;
    if (!session && !waiting)
        open_session();
    if (!consumer) {
        if (session)
            open_consumer();
        else
            stop.wait_for(milliseconds(kIdlePollMs));
        return;
    }
    if (waiting) {
        serve(consumer->poll(std::min<int>(kIdlePollMs, static_cast<int>(retry_at_ms - now_ms()) + 1)));
        return;
    }
    if (paused) {
        consumer->resume(places());
        consumer->assign(positions(), positions());
        paused = false;
    }
    claim_due();
    if (work.empty())
        settle_out_of_range();
    if (work.empty())
        gather();
    if (!work.empty() && now_ms() >= retry_at_ms)
        apply_current();
    if (work.empty())
        redrive();
    advise(false);
}

void Member::open_session() {
    session = std::make_unique<Session>(options.database, stop, [this] { metrics.beat(); });
    receiver = std::make_unique<Receiver>(*session, inbox);
    receiver->check();
    log::info("inbox_connected", {{"consumer", inbox.consumer}, {"member", number}});
    if (consumer)
        metrics.enter(WorkState::running);
}

void Member::open_consumer() {
    const std::string ours = "once-relay." + receiver->database_identity();
    auto opened = std::make_unique<Consumer>(options.kafka, inbox, ours);
    for (const std::string &client : opened->member_clients())
        if (client != ours)
            throw Refusal(
                ExitCode::refused, "group \"" + inbox.group + "\" has a member that is not ours",
                client.starts_with("once-relay.")
                    ? "Its client.id \"" + client + "\" is a relay of another database."
                    : "Its client.id is \"" + client + "\".",
                "Each of them would get a part of the messages. Use a group of its own.");
    consumer = std::move(opened);
    consumer->subscribe();
    metrics.enter(WorkState::running);
    log::info("inbox_subscribed",
              {{"consumer", inbox.consumer}, {"topic", inbox.topic}, {"group", inbox.group}});
}

// What was read is read again: only the database knows how far it got.
void Member::lose_session(const std::string &why) {
    receiver.reset();
    session.reset();
    work.clear();
    for (auto &[place, partition] : assignment) {
        partition.claimed = false;
        partition.claim_at_ms = 0;
    }
    log::warning("inbox_database_lost", {{"consumer", inbox.consumer}, {"reason", why}});
    retry_later(why);
}

void Member::close() {
    if (consumer) {
        advise(true);
        work.clear();
        consumer->close();
    }
    receiver.reset();
    session.reset();
}

void Member::gather() {
    const auto limit = static_cast<std::size_t>(inbox.max_rows);
    const auto bytes = static_cast<std::size_t>(inbox.max_bytes);
    serve(consumer->poll(kIdlePollMs));
    while (!work.empty() && work.size() < limit && work.bytes() < bytes && !paused) {
        Polled polled = consumer->poll(0);
        if (polled.kind == Polled::Kind::nothing)
            break;
        serve(std::move(polled));
    }
    if (!work.empty())
        crash_point(CrashPoint::inbox_after_poll);
}

void Member::serve(Polled polled) {
    switch (polled.kind) {
    case Polled::Kind::nothing:
        return;
    case Polled::Kind::message:
        return take(std::move(polled.message));
    case Polled::Kind::assigned:
        return on_assigned(polled.places);
    case Polled::Kind::revoked:
        return on_revoked(polled.places, polled.fenced_off);
    case Polled::Kind::end:
        if (const auto found = assignment.find(polled.place); found != assignment.end())
            found->second.read = std::max(found->second.read, polled.offset);
        return;
    case Polled::Kind::out_of_range:
        if (const auto found = assignment.find(polled.place); found != assignment.end())
            found->second.out_of_range = found->second.claimed;
        return;
    case Polled::Kind::trouble:
        return on_trouble(polled);
    case Polled::Kind::lost:
        throw Refusal(ExitCode::kafka, "the Kafka consumer failed for good", polled.text);
    }
}

void Member::take(Message message) {
    const auto found = assignment.find(PlaceView{message.topic, message.partition});
    // Not claimed: it will be assigned again, with the database's offset.
    if (found == assignment.end() || !found->second.claimed)
        return;
    Partition &partition = found->second;
    if (message.offset < partition.read)
        return;
    partition.read = message.offset + 1;
    work.add(std::move(message));
    if (metrics.state != WorkState::running)
        metrics.enter(WorkState::running);
}

void Member::on_assigned(const std::vector<Place> &places) {
    assigned_once = true;
    answered = false;
    metrics.rebalances.fetch_add(1, std::memory_order_relaxed);
    log::info("inbox_assigned", {{"consumer", inbox.consumer},
                                 {"member", number},
                                 {"partitions", places.size()}});
    for (const Place &place : places)
        assignment[place] = Partition{};
    // The group waits for an answer, also when nothing can be claimed now.
    struct Answer {
        Member &member;
        ~Answer() { member.answer_group(); }
    } const answer{*this};
    if (session && now_ms() >= retry_at_ms)
        claim_due();
}

// Nothing new to read from, unless claim_due() has answered already.
void Member::answer_group() noexcept {
    try {
        if (!answered)
            consumer->assign({}, positions());
        if (paused)
            consumer->pause(places());
    } catch (const KafkaUnavailable &away) {
        log::warning("inbox_kafka_trouble",
                     {{"consumer", inbox.consumer}, {"reason", away.what()}});
    }
}

void Member::on_revoked(const std::vector<Place> &places, bool fenced_off) {
    assigned_once = false; // until the group says what we have now
    if (!fenced_off)
        advise(true);
    for (const Place &place : places) {
        work.drop({place.topic, place.partition});
        assignment.erase(place);
    }
    attempts = conflicts = 0;
    consumer->release(places);
    log::info("inbox_revoked", {{"consumer", inbox.consumer},
                                {"member", number},
                                {"partitions", places.size()},
                                {"lost", fenced_off}});
}

void Member::on_trouble(const Polled &polled) {
    log::warning("inbox_kafka_trouble", {{"consumer", inbox.consumer},
                                         {"topic", inbox.topic},
                                         {"reason", polled.text}});
    metrics.enter(polled.blocked ? WorkState::blocked : WorkState::retrying);
}

// Claims every partition whose turn it is, and reads on from what the database says.
void Member::claim_due() {
    std::vector<Place> due;
    for (const auto &[place, partition] : assignment)
        if (!partition.claimed && now_ms() >= partition.claim_at_ms)
            due.push_back(place);
    if (due.empty())
        return;
    for (const Place &place : due) // should anything below fail, not at once again
        assignment[place].claim_at_ms = now_ms() + assignment[place].claim_backoff.next().count();
    const std::vector<Claim> claims = receiver->claim(due);
    crash_point(CrashPoint::inbox_after_claim);
    begin_reading(claims);
}

void Member::begin_reading(const std::vector<Claim> &claims) {
    std::vector<Place> claimed;
    for (const Claim &claim : claims)
        claimed.push_back(claim.place);
    const auto committed = consumer->committed(claimed);
    const Offsets ends = consumer->edges(claimed, Consumer::Edge::latest);
    Offsets from;
    for (const Claim &claim : claims) {
        refuse_foreign(claim.place, committed.at(claim.place));
        std::int64_t next = 0;
        if (claim.next) {
            next = *claim.next;
        } else {
            next = first_offset(claim, committed.at(claim.place));
            if (!receiver->start_at(claim.place, claim.fence, next))
                continue; // somebody else is quicker; we ask again while it is ours
            crash_point(CrashPoint::inbox_after_start);
        }
        Partition &partition = assignment[claim.place];
        if (!inbox.store)
            partition.held_keys = receiver->held_keys(claim.place);
        if (drain.wanted() && !partition.until)
            partition.until = ends.at(claim.place);
        partition.fence = claim.fence;
        partition.next = partition.read = next;
        partition.claimed = true;
        // Behind the end: Kafka would answer only when somebody asks for more than there is.
        partition.out_of_range = next > ends.at(claim.place);
        from[claim.place] = next;
        log::info("inbox_claimed", {{"consumer", inbox.consumer},
                                    {"partition", to_string(claim.place)},
                                    {"fence", claim.fence},
                                    {"offset", next}});
    }
    crash_point(CrashPoint::inbox_before_assign);
    if (from.empty())
        return;
    consumer->assign(from, positions());
    answered = true;
}

void Member::refuse_foreign(const Place &place, const Committed &committed) const {
    if (committed.offset >= 0 && committed.note != kCommitNote)
        throw Refusal(ExitCode::refused,
                      "group \"" + inbox.group + "\" is used by another consumer",
                      "It committed offset " + std::to_string(committed.offset) + " of " +
                          to_string(place) + " to Kafka, and not through once-relay.",
                      "Use a group of its own, or, if that consumer is gone for good, remove its "
                      "offsets: kafka-consumer-groups --delete-offsets.");
}

std::int64_t Member::first_offset(const Claim &claim, const Committed &committed) {
    if (committed.offset >= 0)
        throw Refusal(
            ExitCode::refused,
            "the database does not know how far group \"" + inbox.group + "\" got",
            "Kafka has offset " + std::to_string(committed.offset) + " of " + to_string(claim.place) +
                " that a relay committed; this database has none. It is another database, or it was "
                "restored from before the group began.",
            "Use the database that has the effects. To begin anew, remove the group's offsets: "
            "kafka-consumer-groups --delete-offsets.");
    if (inbox.start == InboxStart::refuse)
        throw Refusal(ExitCode::refused,
                      "the database has no offset of " + to_string(claim.place) + " for group \"" +
                          inbox.group + "\"",
                      {}, "Set start = \"earliest\" or \"latest\" to let a new group begin.");
    const auto edge =
        inbox.start == InboxStart::earliest ? Consumer::Edge::earliest : Consumer::Edge::latest;
    return consumer->edges({claim.place}, edge).at(claim.place);
}

// The database no longer takes our word for this partition. While the group says it is ours it is
// claimed again after a while; what was read of it is read again.
void Member::forget_claim(const Place &place, const std::string &why) {
    Partition &partition = assignment[place];
    if (partition.claimed)
        log::warning("inbox_claim_lost", {{"consumer", inbox.consumer},
                                          {"partition", to_string(place)},
                                          {"reason", why}});
    partition.claimed = false;
    partition.claim_at_ms = now_ms() + partition.claim_backoff.next().count();
    work.drop({place.topic, place.partition});
}

// Only with no work at hand: everything before the missing offset is applied.
void Member::settle_out_of_range() {
    for (auto &[place, partition] : assignment) {
        if (!partition.out_of_range || !partition.claimed)
            continue;
        const std::int64_t low = consumer->edges({place}, Consumer::Edge::earliest).at(place);
        const std::int64_t high = consumer->edges({place}, Consumer::Edge::latest).at(place);
        const std::string at = to_string(place) + " ends at offset " + std::to_string(high) +
                               ", group \"" + inbox.group + "\" stands at " +
                               std::to_string(partition.next) + ".";
        if (partition.next > high)
            throw Refusal(ExitCode::refused,
                          "topic \"" + place.topic + "\" was deleted and made again", at,
                          "Its offsets mean other messages now. If that is so, forget the old ones: "
                          "SELECT once.offset_forget('" + inbox.group + "', '" + place.topic + "').");
        if (partition.read < low) {
            const std::string gap = "Offsets " + std::to_string(partition.next) + " to " +
                                    std::to_string(low - 1) + " of " + to_string(place) +
                                    " are gone from Kafka.";
            if (inbox.on_out_of_range == RangePolicy::stop)
                throw Refusal(ExitCode::refused, "retention has removed messages that were not read",
                              gap, "Set on_out_of_range = \"skip\" to go on without them.");
            log::error("inbox_messages_gone", {{"consumer", inbox.consumer}, {"detail", gap}});
            if (!receiver->skip_to(place, partition, low)) {
                forget_claim(place, "fenced");
                continue;
            }
            partition.next = partition.read = low;
        }
        partition.out_of_range = false;
        consumer->assign({{place, partition.read}}, positions());
    }
}

void Member::apply_current() {
    try {
        settle(receiver->apply(work.current(), assignment));
    } catch (const MessageRefused &refused) {
        on_refused(refused);
    }
}

void Member::settle(const Applied &applied) {
    // First what is done, then what is not ours: dropping a partition changes what `current` is.
    work.done();
    for (const auto &[place, next] : applied.next) {
        Partition &partition = assignment[place];
        partition.next = next;
        partition.claim_backoff.reset();
    }
    for (const Place &place : applied.fenced) {
        metrics.fenced.fetch_add(1, std::memory_order_relaxed);
        forget_claim(place, "fenced");
    }
    attempts = conflicts = 0;
    backoff.reset();
    metrics.messages.fetch_add(applied.fresh, std::memory_order_relaxed);
    metrics.bytes.fetch_add(applied.bytes, std::memory_order_relaxed);
    metrics.duplicates.fetch_add(applied.duplicates, std::memory_order_relaxed);
    metrics.too_old.fetch_add(applied.too_old, std::memory_order_relaxed);
    metrics.parked.fetch_add(applied.parked, std::memory_order_relaxed);
    metrics.committed(!work.empty());
    if (metrics.state != WorkState::running)
        metrics.enter(WorkState::running);
}

void Member::on_refused(const MessageRefused &refused) {
    metrics.ended(TransactionOutcome::aborted);
    if (stop.requested())
        return; // cancelled by ourselves; it comes again
    const bool conflict = is_conflict(refused.sqlstate);
    if (is_transient(refused.sqlstate) && !(conflict && ++conflicts > kMostConflicts))
        return retry_later(text_of(refused));
    if (work.split())
        return;
    if (++attempts < inbox.max_attempts)
        return retry_later(text_of(refused));
    poison(text_of(refused));
}

void Member::poison(const std::string &error) {
    const Message &message = work.current().front();
    const Place place{std::string(message.topic), message.partition};
    const std::string where = to_string(place) + " at offset " + std::to_string(message.offset);
    if (inbox.on_poison == PoisonPolicy::stop)
        throw Refusal(ExitCode::refused, "the handler refuses a message", where + ": " + error,
                      "Repair the handler, or set on_poison = \"hold_key\" or \"skip\".");
    const bool hold = inbox.on_poison == PoisonPolicy::hold_key && message.key.has_value();
    const std::string key = hold ? as_text(*message.key) : std::string();
    const Applied applied = receiver->park(message, assignment, error);
    log::warning("inbox_parked",
                 {{"consumer", inbox.consumer}, {"message", where}, {"error", error}});
    if (hold && applied.parked > 0)
        assignment[place].held_keys.insert(key);
    settle(applied);
}

// A statement of ours failed, nothing the message is to blame for.
void Member::on_own_error(const SqlError &error) {
    if (!session)
        return lose_session(error.what());
    session->rollback();
    if (stop.requested())
        return;
    if (is_transient(error.sqlstate))
        return retry_later(text_of(error));
    if (error.sqlstate == "ON012") { // the database's offset is not the one we go on from
        std::vector<Place> all = places();
        for (const Place &place : all)
            forget_claim(place, error.what());
        return;
    }
    throw Refusal(error.sqlstate == "42883" || error.sqlstate == "42P01" ? ExitCode::mismatch
                                                                         : ExitCode::database,
                  "the database refuses a statement of the inbox", text_of(error),
                  error.sqlstate == "42501"
                      ? "Give the relay's role its rights: SELECT once.grant_consumer('role')."
                      : "");
}

// Nothing new is taken meanwhile, but the group is answered.
void Member::retry_later(const std::string &why) {
    retry_at_ms = now_ms() + backoff.next().count();
    metrics.enter(WorkState::retrying);
    log::warning("inbox_retry", {{"consumer", inbox.consumer}, {"reason", why}});
    if (consumer && !paused) {
        consumer->pause(places());
        paused = true;
    }
}

// What was put aside and may go on. Any member may do it: a key is held until its last row in
// once.inbox is done, and rows of one key are taken in order.
void Member::redrive() {
    if (inbox.store || !receiver || now_ms() < redrive_at_ms)
        return;
    int count = 0;
    while (count < kRedrivenAtOnce && !stop.requested()) {
        const std::optional<bool> taken = receiver->redrive_one();
        if (!taken)
            break;
        ++count;
        metrics.committed(true);
        metrics.messages.fetch_add(*taken ? 1 : 0, std::memory_order_relaxed);
    }
    if (count > 0)
        log::info("inbox_redriven", {{"consumer", inbox.consumer}, {"messages", count}});
    bool held = false;
    for (auto &[place, partition] : assignment) {
        if (!partition.held_keys.empty())
            partition.held_keys = receiver->held_keys(place);
        held = held || !partition.held_keys.empty();
    }
    redrive_at_ms = count == kRedrivenAtOnce ? 0 : now_ms() + (held ? kRedriveMs : kRedriveRarelyMs);
}

void Member::advise(bool now) {
    if (!now && now_ms() < advise_at_ms)
        return;
    advise_at_ms = now_ms() + kAdviceMs;
    Offsets next;
    for (auto &[place, partition] : assignment)
        if (partition.claimed && partition.next != partition.advised) {
            next[place] = partition.next;
            partition.advised = partition.next;
        }
    consumer->advise(next);
    if (!next.empty())
        crash_point(CrashPoint::inbox_after_advice);
}

void Member::report() {
    if (drain.wanted())
        drain.report(number, drained());
    if (!consumer || now_ms() < report_at_ms)
        return;
    report_at_ms = now_ms() + kReportMs;
    std::int64_t lag = 0, claimed = 0;
    for (const auto &[place, partition] : assignment) {
        lag += std::max<std::int64_t>(0, consumer->known_end(place) - partition.next);
        claimed += partition.claimed;
    }
    metrics.lag_messages = lag;
    metrics.partitions = claimed;
    if (now_ms() - consumer->answered_ms() < 2 * kReportMs)
        metrics.looked(!work.empty() || lag > 0);
}

bool Member::drained() const {
    return assigned_once && work.empty() &&
           std::all_of(assignment.begin(), assignment.end(), [](const auto &entry) {
               const Partition &partition = entry.second;
               return partition.claimed && !partition.out_of_range && partition.until &&
                      partition.read >= *partition.until;
           });
}

Offsets Member::positions() const {
    Offsets all;
    for (const auto &[place, partition] : assignment)
        if (partition.claimed)
            all[place] = partition.read;
    return all;
}

std::vector<Place> Member::places() const {
    std::vector<Place> all;
    for (const auto &[place, partition] : assignment)
        all.push_back(place);
    return all;
}

} // namespace once::inbox
