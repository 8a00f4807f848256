#include "relay/inbox/member.hpp"

#include "relay/process/crash_point.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"
#include "relay/options.hpp"
#include "relay/process/stop_signal.hpp"

#include <algorithm>

namespace once::inbox {
namespace {

using std::chrono::milliseconds;

constexpr int kIdlePollMs = 200; // nothing there: how soon a stop or a claim that is due is seen
constexpr int kFirstContactMs = 5000; // of servers that never answered
constexpr int kBeatMs = 1000;         // while the server works: heartbeat
constexpr int kAheadAtOnce = 32;      // messages taken ahead until the server is looked at again
constexpr int kAheadPauseMs = 20;     // nothing to take ahead: look again
constexpr int kAdviceMs = 1000;       // offsets to Kafka, for lag tools
constexpr int kReportMs = 1000;       // gauges
constexpr int kRedriveMs = 1000;      // look for parked messages that were set free
constexpr int kRedriveRarelyMs = 5000;
// At a stretch: then the main path has its turn, and the group hears of us.
constexpr int kRedriveForMs = 1000;
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
    return enabled_ &&
           std::all_of(flags_.begin(), flags_.end(), [](const auto &flag) { return flag.load(); });
}

Member::Member(const Options &all_options, const InboxOptions &inbox_options,
               InboxMetrics &inbox_metrics, const StopSignal &stop_signal, Drain &group_drain,
               std::size_t member_number)
    : options_(all_options), inbox_(inbox_options), metrics_(inbox_metrics), stop_(stop_signal),
      drain_(group_drain), number_(member_number),
      work_({inbox_options.id_header, inbox_options.id_path}),
      backoff_(milliseconds(50), milliseconds(5000)) {}

void Member::run() {
    while (!stop_.requested() && !drain_.complete()) {
        try {
            work_once();
        } catch (const SessionLost &lost) {
            refuse_first_contact(ExitCode::database, "could not use the database", lost.what());
            lose_session(lost.what());
        } catch (const KafkaUnavailable &away) {
            refuse_first_contact(ExitCode::kafka, "could not reach Kafka", away.what());
            retry_later(away.what());
        } catch (const SqlError &error) {
            on_own_error(error);
        }
        report();
    }
    metrics_.enter(WorkState::stopping);
    close();
    metrics_.enter(WorkState::stopped);
}

// Who never reached a server has a wrong address, certificate or password more often than a server
// that is just starting.
void Member::refuse_first_contact(ExitCode code, const char *what, const std::string &why) const {
    if (!ever_ran_ && now_ms() - begun_ms_ > kFirstContactMs)
        throw Refusal(code, std::string(what) + ": " + why, {},
                      code == ExitCode::kafka
                          ? "Check the list of brokers and the [kafka] settings."
                          : kDatabaseHint);
}

// The session comes first: whoever joins the group without a database only disturbs it.
void Member::work_once() {
    metrics_.beat();
    const bool waiting = now_ms() < retry_at_ms_;
    if (!session_ && !waiting)
        open_session();
    if (!consumer_) {
        if (session_)
            open_consumer();
        else
            stop_.wait_for(milliseconds(kIdlePollMs));
        return;
    }
    if (waiting) {
        serve(consumer_->poll(
            std::min<int>(kIdlePollMs, static_cast<int>(retry_at_ms_ - now_ms()) + 1)));
        return;
    }
    if (paused_) {
        consumer_->resume(places());
        consumer_->assign(positions(), positions());
        paused_ = false;
    }
    look_at_topics_when_due();
    claim_due();
    settle_out_of_range();
    if (!work_.tried())
        gather();
    if (!work_.empty() && now_ms() >= retry_at_ms_)
        apply_current();
    if (!work_.tried())
        redrive();
    advise(false);
}

void Member::open_session() {
    session_ = std::make_unique<Session>(options_.database, stop_,
                                         [this] { return while_server_works(); });
    receiver_ = std::make_unique<Receiver>(*session_, inbox_);
    receiver_->check();
    log::info("inbox_connected", {{"consumer", inbox_.consumer}, {"member", number_}});
    if (consumer_)
        metrics_.enter(WorkState::running);
}

// The next batch is taken from Kafka and encoded while the server works on this one, a few messages
// at a time, so that the server never waits. What is no message waits for the end of this one.
int Member::while_server_works() {
    metrics_.beat();
    if (!applying_)
        return kBeatMs;
    work_.sweep();
    for (int i = 0; i < kAheadAtOnce; ++i) {
        if (full(work_.next()))
            return kBeatMs;
        std::optional<Message> message = consumer_->message_at_hand();
        if (!message)
            return kAheadPauseMs;
        take(std::move(*message));
    }
    return 0;
}

bool Member::full(const Batch &batch) const {
    return batch.size() >= static_cast<std::size_t>(inbox_.max_rows) ||
           2 * batch.bytes() >= static_cast<std::size_t>(inbox_.max_bytes); // with the other one
}

void Member::open_consumer() {
    const std::string ours = "once-relay." + receiver_->database_identity();
    auto opened = std::make_unique<Consumer>(options_.kafka, inbox_, ours);
    for (const std::string &client : opened->member_clients())
        if (client != ours)
            throw Refusal(ExitCode::refused,
                          "group \"" + inbox_.group + "\" has a member that is not ours",
                          client.starts_with("once-relay.")
                              ? "Its client.id \"" + client + "\" is a relay of another database."
                              : "Its client.id is \"" + client + "\".",
                          "Each of them would get a part of the messages. Use a group of its own.");
    consumer_ = std::move(opened);
    consumer_->subscribe();
    ever_ran_ = true;
    metrics_.enter(WorkState::running);
    log::info("inbox_subscribed", {{"consumer", inbox_.consumer},
                                   {"topic", inbox_.topic},
                                   {"group", inbox_.group},
                                   {"topic_ids", Consumer::tells_topic_ids()}});
}

// What was read is read again: only the database knows how far it got.
void Member::lose_session(const std::string &why) {
    receiver_.reset();
    session_.reset();
    work_.clear();
    for (auto &[place, partition] : assignment_) {
        partition.claimed = false;
        partition.claim_at_ms = 0;
    }
    log::warning("inbox_database_lost", {{"consumer", inbox_.consumer}, {"reason", why}});
    retry_later(why);
}

void Member::close() {
    if (consumer_) {
        advise(true);
        work_.clear();
        consumer_->close();
    }
    receiver_.reset();
    session_.reset();
}

void Member::gather() {
    if (work_.empty())
        serve(consumer_->poll(kIdlePollMs));
    while (!work_.empty() && !full(work_.in_hand()) && !paused_) {
        Polled polled = consumer_->poll(0);
        if (polled.kind == Polled::Kind::nothing)
            break;
        serve(std::move(polled));
    }
    if (!work_.empty())
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
        if (const auto found = assignment_.find(polled.place); found != assignment_.end())
            found->second.reached = polled.offset;
        return;
    case Polled::Kind::out_of_range:
        if (const auto found = assignment_.find(polled.place); found != assignment_.end())
            found->second.out_of_range = found->second.claimed;
        return;
    case Polled::Kind::trouble:
        return on_trouble(polled);
    case Polled::Kind::lost:
        throw Refusal(ExitCode::kafka, "fatal Kafka consumer error", polled.text);
    }
}

void Member::take(Message message) {
    const auto found = assignment_.find(TopicPartitionView{message.topic, message.partition});
    // Not claimed: it will be assigned again, with the database's offset.
    if (found == assignment_.end() || !found->second.claimed)
        return;
    Partition &partition = found->second;
    if (message.offset < partition.read)
        return;
    partition.read = message.offset + 1;
    work_.add(std::move(message), partition.name);
    if (metrics_.state != WorkState::running)
        metrics_.enter(WorkState::running);
}

void Member::on_assigned(const std::vector<TopicPartition> &places) {
    assigned_once_ = true;
    answered_ = false;
    metrics_.rebalances.fetch_add(1, std::memory_order_relaxed);
    log::info("inbox_assigned",
              {{"consumer", inbox_.consumer}, {"member", number_}, {"partitions", places.size()}});
    for (const TopicPartition &place : places)
        assignment_[place] = Partition{};
    // The group waits for an answer, also when nothing can be claimed now.
    struct Answer {
        Member &member;
        ~Answer() { member.answer_group(); }
    } const answer{*this};
    if (session_ && now_ms() >= retry_at_ms_)
        claim_due();
}

// Nothing new to read from, unless claim_due() has answered already.
void Member::answer_group() noexcept {
    try {
        if (!answered_)
            consumer_->assign({}, positions());
        if (paused_)
            consumer_->pause(places());
    } catch (const KafkaUnavailable &away) {
        log::warning("inbox_kafka_trouble",
                     {{"consumer", inbox_.consumer}, {"reason", away.what()}});
    }
}

void Member::on_revoked(const std::vector<TopicPartition> &places, bool fenced_off) {
    assigned_once_ = false; // until the group says what we have now
    if (!fenced_off)
        advise(true);
    for (const TopicPartition &place : places) {
        work_.drop({place.topic, place.partition});
        assignment_.erase(place);
    }
    attempts_ = conflicts_ = 0;
    // librdkafka keeps a partition paused over its next assignment.
    if (paused_)
        consumer_->resume(places);
    consumer_->release(places);
    log::info("inbox_revoked", {{"consumer", inbox_.consumer},
                                {"member", number_},
                                {"partitions", places.size()},
                                {"lost", fenced_off}});
}

void Member::on_trouble(const Polled &polled) {
    log::warning("inbox_kafka_trouble",
                 {{"consumer", inbox_.consumer}, {"topic", inbox_.topic}, {"reason", polled.text}});
    metrics_.enter(polled.blocked ? WorkState::blocked : WorkState::retrying);
    if (polled.blocked) // a topic that is gone may come back as another one
        topics_at_ms_ = 0;
}

void Member::apply_current() {
    // Only what is asked after the messages were taken tells which topic they are of.
    if (Consumer::tells_topic_ids())
        look_at_topics();
    if (work_.empty())
        return;
    struct Applying {
        bool &flag;
        ~Applying() { flag = false; }
    } const ends{applying_};
    applying_ = true;
    try {
        const InboxMetrics::Timed timed{metrics_};
        const Applied applied = receiver_->apply(work_.current(), assignment_);
        applying_ = false;
        settle(applied);
    } catch (const MessageRefused &refused) {
        on_refused(refused);
    }
}

void Member::settle(const Applied &applied) {
    // First what is done, then what is not ours: dropping a partition changes what `current` is.
    work_.done();
    for (const auto &[place, next] : applied.next) {
        Partition &partition = assignment_[place];
        partition.next = next;
        partition.claim_backoff.reset();
    }
    for (const TopicPartition &place : applied.fenced) {
        metrics_.fenced.fetch_add(1, std::memory_order_relaxed);
        forget_claim(place, "fenced");
    }
    attempts_ = conflicts_ = 0;
    backoff_.reset();
    metrics_.messages.fetch_add(applied.fresh, std::memory_order_relaxed);
    metrics_.bytes.fetch_add(applied.bytes, std::memory_order_relaxed);
    metrics_.duplicates.fetch_add(applied.duplicates, std::memory_order_relaxed);
    metrics_.too_old.fetch_add(applied.too_old, std::memory_order_relaxed);
    metrics_.parked.fetch_add(applied.parked, std::memory_order_relaxed);
    metrics_.committed(!work_.empty());
    if (metrics_.state != WorkState::running)
        metrics_.enter(WorkState::running);
}

void Member::on_refused(const MessageRefused &refused) {
    metrics_.ended(TransactionOutcome::aborted);
    if (stop_.requested())
        return; // cancelled by ourselves; it comes again
    const bool conflict = is_conflict(refused.sqlstate);
    if (is_transient(refused.sqlstate) && !(conflict && ++conflicts_ > kMostConflicts))
        return retry_later(text_of(refused));
    if (work_.split())
        return;
    if (++attempts_ < inbox_.max_attempts)
        return retry_later(text_of(refused));
    receiver_->check(); // a handler that is gone is not the message's fault
    poison(text_of(refused));
}

void Member::poison(const std::string &error) {
    const Entry &entry = work_.current().entries.front();
    const Message &message = entry.message;
    const TopicPartition place{std::string(message.topic), message.partition};
    const std::string where = to_string(place) + " at offset " + std::to_string(message.offset);
    if (inbox_.on_poison == PoisonPolicy::stop)
        throw Refusal(ExitCode::refused, "the handler refuses a message", where + ": " + error,
                      "Repair the handler, or set on_poison = \"hold_key\" or \"skip\".");
    const bool hold = inbox_.on_poison == PoisonPolicy::hold_key && message.key.has_value();
    const std::string key = hold ? as_text(*message.key) : std::string();
    const Applied applied = receiver_->park(entry, assignment_, error);
    log::warning("inbox_parked",
                 {{"consumer", inbox_.consumer}, {"message", where}, {"error", error}});
    if (hold && applied.parked > 0)
        assignment_[place].held_keys.insert(key);
    settle(applied);
}

// A statement of ours failed, nothing the message is to blame for.
void Member::on_own_error(const SqlError &error) {
    if (!session_)
        return lose_session(error.what());
    session_->rollback();
    if (stop_.requested())
        return;
    if (is_transient(error.sqlstate))
        return retry_later(text_of(error));
    if (error.sqlstate == "ON012") { // the database's offset is not the one we go on from
        std::vector<TopicPartition> all = places();
        for (const TopicPartition &place : all)
            forget_claim(place, error.what());
        return;
    }
    throw Refusal(error.sqlstate == "42883" || error.sqlstate == "42P01" ? ExitCode::mismatch
                                                                         : ExitCode::database,
                  "could not execute inbox statement", text_of(error),
                  error.sqlstate == "42501"
                      ? "Give the relay's role its rights: SELECT once.grant_consumer('role')."
                      : "");
}

// Nothing new is taken meanwhile, but the group is answered.
void Member::retry_later(const std::string &why) {
    retry_at_ms_ = now_ms() + backoff_.next().count();
    metrics_.enter(WorkState::retrying);
    log::warning("inbox_retry", {{"consumer", inbox_.consumer}, {"reason", why}});
    if (consumer_ && !paused_) {
        consumer_->pause(places());
        paused_ = true;
    }
}

// What was put aside and may go on. Any member may do it: a key is held until its last row in
// once.inbox is done, and rows of one key are taken in order.
void Member::redrive() {
    if (inbox_.store || !receiver_ || now_ms() < redrive_at_ms_)
        return;
    int count = 0;
    bool more = true;
    const std::int64_t until_ms = now_ms() + kRedriveForMs;
    while (more && now_ms() < until_ms && !stop_.requested()) {
        const std::optional<bool> taken = receiver_->redrive_one();
        more = taken.has_value();
        if (!more)
            break;
        ++count;
        metrics_.committed(true);
        metrics_.messages.fetch_add(*taken ? 1 : 0, std::memory_order_relaxed);
    }
    if (count > 0)
        log::info("inbox_redriven", {{"consumer", inbox_.consumer}, {"messages", count}});
    bool held = false;
    for (auto &[place, partition] : assignment_) {
        if (!partition.held_keys.empty())
            partition.held_keys = receiver_->held_keys(place);
        held = held || !partition.held_keys.empty();
    }
    redrive_at_ms_ = more ? 0 : now_ms() + (held ? kRedriveMs : kRedriveRarelyMs);
}

void Member::advise(bool now) {
    if (!now && now_ms() < advise_at_ms_)
        return;
    advise_at_ms_ = now_ms() + kAdviceMs;
    Offsets next;
    for (auto &[place, partition] : assignment_)
        if (partition.claimed && partition.next != partition.advised) {
            next[place] = partition.next;
            partition.advised = partition.next;
        }
    consumer_->advise(next);
    if (!next.empty())
        crash_point(CrashPoint::inbox_after_advice);
}

void Member::report() {
    if (drain_.wanted())
        drain_.report(number_, drained());
    if (!consumer_ || now_ms() < report_at_ms_)
        return;
    report_at_ms_ = now_ms() + kReportMs;
    std::int64_t lag = 0, claimed = 0;
    for (const auto &[place, partition] : assignment_) {
        lag += std::max<std::int64_t>(0, consumer_->known_end(place) - partition.next);
        claimed += partition.claimed;
    }
    metrics_.lag_messages = lag;
    metrics_.partitions = claimed;
    if (now_ms() - consumer_->answered_ms() < 2 * kReportMs)
        metrics_.looked(!work_.empty() || lag > 0);
}

bool Member::drained() const {
    return assigned_once_ && work_.empty() &&
           std::all_of(assignment_.begin(), assignment_.end(), [](const auto &entry) {
               const Partition &partition = entry.second;
               return partition.claimed && !partition.out_of_range && partition.until &&
                      std::max(partition.read, partition.reached) >= *partition.until;
           });
}

Offsets Member::positions() const {
    Offsets all;
    for (const auto &[place, partition] : assignment_)
        if (partition.claimed)
            all[place] = partition.read;
    return all;
}

std::vector<TopicPartition> Member::places() const {
    std::vector<TopicPartition> all;
    for (const auto &[place, partition] : assignment_)
        all.push_back(place);
    return all;
}

} // namespace once::inbox
