#include "relay/inbox/member.hpp"

#include "relay/options.hpp"
#include "relay/process/crash_point.hpp"
#include "relay/process/log.hpp"
#include "relay/process/stop_signal.hpp"
#include "relay/process/whole_number.hpp"

#include <algorithm>

namespace once::inbox {
namespace {

using std::chrono::milliseconds;

constexpr int kIdlePollMs = 200; // nothing there: how soon a stop or a claim that is due is seen
constexpr int kFirstContactMs = 5000; // of servers that never answered
constexpr int kBeatMs = 1000;         // while the server works: heartbeat
constexpr int kAheadAtOnce = 32;      // messages taken ahead until the server is looked at again
constexpr int kAheadPauseMs = 20;     // nothing to take ahead: look again
constexpr int kCommitMs = 1000;       // offsets to Kafka, for lag tools
constexpr int kReportMs = 1000;       // gauges
constexpr int kRedriveMs = 1000;      // look for parked messages that may be tried
constexpr int kRedriveRarelyMs = 5000;
constexpr int kLookAgainMs = 5000; // whether what somebody has to repair is repaired
// At a stretch: then the main path has its turn, and the group hears of us.
constexpr int kRedriveForMs = 1000;
constexpr std::int64_t kMaxPollIntervalMs = 300'000; // librdkafka's default

std::int64_t max_poll_interval_ms(const KafkaOptions &kafka) {
    const auto set = kafka.passthrough.find("max.poll.interval.ms");
    if (set == kafka.passthrough.end())
        return kMaxPollIntervalMs;
    return whole_number<std::int64_t>(set->second).value_or(kMaxPollIntervalMs);
}

} // namespace

Member::Member(const Options &options, const InboxOptions &inbox, InboxDatabase &database,
               JoinGroup join, InboxMetrics &metrics, const StopSignal &stop, Drain &drain,
               std::size_t number)
    : options_(options), inbox_(inbox), database_(database), join_(std::move(join)),
      metrics_(metrics), stop_(stop), drain_(drain), number_(number),
      leases_(inbox, database, drain.wanted(),
              [this](const TopicPartitionView &place) { applier_.drop(place); }),
      applier_(inbox, database, leases_, metrics, max_poll_interval_ms(options.kafka)),
      backoff_(milliseconds(50), milliseconds(5000)) {}

void Member::run() {
    while (!stop_.requested() && !drain_.complete())
        step();
    metrics_.enter(WorkState::stopping);
    close();
    metrics_.enter(WorkState::stopped);
}

void Member::step() {
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
    if (!database_.connected() && !waiting)
        open_session();
    if (!consumer_) {
        if (database_.connected())
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
    resume();
    leases_.look_at_topics_when_due(*consumer_);
    leases_.claim_due(*consumer_);
    leases_.resolve_out_of_range(*consumer_);
    look_again_where_blocked();
    if (!applier_.tried())
        gather();
    if (!applier_.empty() && now_ms() >= retry_at_ms_)
        apply_current();
    if (!applier_.tried())
        redrive();
    commit_offsets(false);
}

void Member::open_session() {
    database_.connect();
    log::info("inbox_connected", {{"consumer", inbox_.consumer}, {"member", number_}});
}

// The next batch is taken from Kafka and encoded while the server works on this one, a few messages
// at a time, so that the server never waits. What is no message waits for the end of this one.
int Member::while_server_works() {
    metrics_.beat();
    if (!applying_)
        return kBeatMs;
    applier_.sweep();
    for (int i = 0; i < kAheadAtOnce; ++i) {
        if (applier_.next_full())
            return kBeatMs;
        std::optional<Message> message = consumer_->message_at_hand();
        if (!message)
            return kAheadPauseMs;
        take(std::move(*message));
    }
    return 0;
}

void Member::open_consumer() {
    const std::string ours = "once-relay." + database_.identity();
    auto opened = join_(ours);
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
    log::info("inbox_subscribed", {{"consumer", inbox_.consumer},
                                   {"topic", inbox_.topic},
                                   {"group", inbox_.group},
                                   {"topic_ids", consumer_->tells_topic_ids()}});
}

// What was read is read again: only the database knows how far it got.
void Member::lose_session(const std::string &why) {
    if (applying_)
        applier_.did_not_end(why);
    applying_ = false;
    database_.disconnect();
    applier_.clear();
    leases_.session_lost();
    log::warning("inbox_database_lost", {{"consumer", inbox_.consumer}, {"reason", why}});
    retry_later(why);
}

void Member::close() {
    if (consumer_) {
        commit_offsets(true);
        applier_.clear();
        consumer_->close();
    }
    database_.disconnect();
}

void Member::gather() {
    if (applier_.empty())
        serve(consumer_->poll(kIdlePollMs));
    while (!applier_.empty() && !applier_.full() && !paused_) {
        Polled polled = consumer_->poll(0);
        if (polled.kind == Polled::Kind::nothing)
            break;
        serve(std::move(polled));
    }
    if (!applier_.empty())
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
        got_on_ms_ = now_ms();
        return leases_.reached_end(polled.place, polled.offset);
    case Polled::Kind::out_of_range:
        return leases_.met_out_of_range(polled.place);
    case Polled::Kind::trouble:
        return on_trouble(polled);
    case Polled::Kind::lost:
        throw Refusal(ExitCode::kafka, "fatal Kafka consumer error", polled.text);
    }
}

void Member::take(Message message) {
    const PartitionLeases::Taken taken = leases_.take(message);
    if (!taken.counts)
        return;
    applier_.add(std::move(message), taken.name);
    got_on_ms_ = now_ms();
}

void Member::on_assigned(const std::vector<TopicPartition> &places) {
    assigned_ = true;
    metrics_.rebalances.fetch_add(1, std::memory_order_relaxed);
    log::info("inbox_assigned",
              {{"consumer", inbox_.consumer}, {"member", number_}, {"partitions", places.size()}});
    leases_.assigned(places);
    // The group waits for an answer, also when nothing can be claimed now.
    struct Answer {
        Member &member;
        bool given = false;
        ~Answer() {
            if (!given)
                member.answer_group();
        }
    } answer{*this};
    if (database_.connected() && now_ms() >= retry_at_ms_)
        answer.given = leases_.claim_due(*consumer_);
    if (answer.given && paused_)
        consumer_->pause(leases_.places());
}

// Nothing new to read from.
void Member::answer_group() noexcept {
    try {
        consumer_->assign({}, leases_.positions());
        if (paused_)
            consumer_->pause(leases_.places());
    } catch (const KafkaUnavailable &away) {
        log::warning("inbox_kafka_trouble",
                     {{"consumer", inbox_.consumer}, {"reason", away.what()}});
    }
}

void Member::on_revoked(const std::vector<TopicPartition> &places, bool fenced_off) {
    assigned_ = false; // until the group says what we have now
    if (!fenced_off)
        commit_offsets(true);
    leases_.revoked(places);
    applier_.assignment_changed();
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
    state_.meet({now_ms(), polled.blocked, polled.text});
    if (polled.outlived)
        applier_.did_not_end(polled.text);
    if (!polled.blocked)
        return;
    look_again_at_ms_ = now_ms() + kLookAgainMs;
    leases_.look_at_topics_soon(); // a topic that is gone may come back as another one
}

void Member::apply_current() {
    // Only what is asked after the messages were taken tells which topic they are of.
    if (consumer_->tells_topic_ids())
        leases_.look_at_topics(*consumer_);
    if (applier_.empty())
        return;
    applying_ = true;
    const Applier::Attempt attempt = applier_.apply_current(stop_.requested());
    applying_ = false;
    if (attempt.again)
        return retry_later(attempt.why);
    backoff_.reset();
    got_on_ms_ = now_ms();
    if (const std::int64_t due_ms = applier_.take_retry_at_ms())
        redrive_at_ms_ = std::min(redrive_at_ms_, due_ms);
}

// A statement of ours failed, nothing the message is to blame for.
void Member::on_own_error(const SqlError &error) {
    applying_ = false;
    if (!database_.connected())
        return lose_session(error.what());
    const Failure failure = judge(error.sqlstate, During::own_statement);
    if (failure == Failure::reconnect)
        return lose_session(text_of(error));
    database_.rollback();
    if (stop_.requested())
        return;
    if (passes(failure))
        return retry_later(text_of(error));
    if (failure == Failure::behind)
        return leases_.lose_all(error.what());
    throw Refusal(failure == Failure::missing ? ExitCode::mismatch : ExitCode::database,
                  "could not execute inbox statement", text_of(error),
                  failure == Failure::rights
                      ? "Give the relay's role its rights: SELECT once.grant_consumer('role')."
                      : "");
}

// The same again after a pause. Nothing new is taken meanwhile, but the group is answered.
void Member::retry_later(const std::string &why) {
    retry_at_ms_ = now_ms() + backoff_.next().count();
    state_.meet({now_ms(), false, why});
    log::warning("inbox_retry",
                 {{"consumer", inbox_.consumer}, {"attempt", metrics_.failed()}, {"reason", why}});
    if (consumer_ && !paused_) {
        consumer_->pause(leases_.places());
        paused_ = true;
    }
}

void Member::resume() {
    if (!paused_)
        return;
    consumer_->resume(leases_.places());
    consumer_->assign(leases_.positions(), leases_.positions());
    paused_ = false;
}

// librdkafka tells an error of a partition once, and says nothing when it is over. Read again from
// the same place, the partition tells its end, a message, or the error again.
void Member::look_again_where_blocked() {
    if (!state_.blocked() || !applier_.empty() || now_ms() < look_again_at_ms_)
        return;
    look_again_at_ms_ = now_ms() + kLookAgainMs;
    if (const Offsets positions = leases_.positions(); !positions.empty())
        consumer_->assign(positions, positions);
}

// What was put aside and may go on. Any member may do it: a key is held until its last row in
// once.inbox is done, and rows of one key are taken in order.
void Member::redrive() {
    if (inbox_.store || !database_.connected() || now_ms() < redrive_at_ms_)
        return;
    int count = 0;
    bool more = true;
    const std::int64_t until_ms = now_ms() + kRedriveForMs;
    while (more && now_ms() < until_ms && !stop_.requested()) {
        const std::optional<bool> taken = database_.redrive_one();
        more = taken.has_value();
        if (!more)
            break;
        ++count;
        metrics_.committed(true);
        metrics_.messages.fetch_add(*taken ? 1 : 0, std::memory_order_relaxed);
    }
    if (count > 0)
        log::info("inbox_redriven", {{"consumer", inbox_.consumer}, {"messages", count}});
    leases_.refresh_held_keys();
    redrive_at_ms_ = more ? 0 : now_ms() + (leases_.any_held_key() ? kRedriveMs : kRedriveRarelyMs);
}

void Member::commit_offsets(bool now) {
    if (!now && now_ms() < commit_at_ms_)
        return;
    commit_at_ms_ = now_ms() + kCommitMs;
    const Offsets next = leases_.offsets_to_commit();
    consumer_->commit_offsets(next);
    if (!next.empty())
        crash_point(CrashPoint::inbox_after_advice);
}

void Member::report() {
    if (drain_.wanted())
        drain_.report(number_, drained());
    enter_state();
    if (!consumer_ || now_ms() < report_at_ms_)
        return;
    report_at_ms_ = now_ms() + kReportMs;
    const std::int64_t lag = leases_.lag(*consumer_);
    metrics_.lag_messages = lag;
    metrics_.partitions = leases_.held_count();
    if (now_ms() - consumer_->answered_ms() < 2 * kReportMs)
        metrics_.looked(!applier_.empty() || lag > 0);
}

void Member::enter_state() {
    MemberFacts facts;
    facts.joined = consumer_ != nullptr;
    facts.waiting = now_ms() < retry_at_ms_;
    facts.all_leased = assigned_ && leases_.all_held();
    facts.nothing_in_hand = applier_.empty();
    facts.answered_ms = consumer_ ? consumer_->answered_ms() : 0;
    facts.leased_ms = leases_.leased_ms();
    facts.got_on_ms = got_on_ms_;
    if (const WorkState state = state_.judge(facts); metrics_.state != state)
        metrics_.enter(state);
}

bool Member::drained() const {
    return assigned_ && applier_.empty() && leases_.drained();
}

} // namespace once::inbox
