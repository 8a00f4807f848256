// The loop that decides, over every outcome of every step: whatever happens, each event is in the
// log exactly once and in order, or the pipeline refuses.
#include "test/unit/fake_lane.hpp"

#include "relay/process/exit_code.hpp"
#include "relay/outbox/wall_clock.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace once::outbox {
namespace {

using fake::Fault;
using fake::Lane;
using Script = std::deque<Fault> fake::Kafka::*;

ExitCode refusal_of(Lane &lane) {
    try {
        lane.run();
    } catch (const Refusal &refusal) {
        return refusal.code;
    }
    return ExitCode::stopped;
}

TEST(Pipeline, P28FirstStartShipsEverythingThatIsThere) {
    Lane lane;
    lane.database.publish(250);
    lane.run();
    EXPECT_EQ(lane.kafka.log, lane.all());
    ASSERT_FALSE(lane.kafka.positions.empty());
    EXPECT_EQ(lane.kafka.positions.front().position.counter, 0); // the genesis
    EXPECT_EQ(lane.kafka.positions.back().position.counter, 250);
    EXPECT_EQ(lane.kafka.positions.back().position.last_seq, 250);
    EXPECT_TRUE(lane.database.who.armed);
}

TEST(Pipeline, P28LostPositionIsRefusedAndNobodyIsFenced) {
    Lane lane;
    lane.database.publish(5);
    lane.database.who.armed = true;
    lane.database.who.cluster_id = "cluster-a";
    EXPECT_EQ(refusal_of(lane), ExitCode::refused);
    EXPECT_EQ(lane.kafka.opens, 0);
}

TEST(Pipeline, P13OtherHistoryIsRefusedAndNobodyIsFenced) {
    Lane lane;
    lane.database.publish(5);
    lane.run();
    const int opens = lane.kafka.opens;
    lane.database.same_history = false;
    EXPECT_EQ(refusal_of(lane), ExitCode::refused);
    EXPECT_EQ(lane.kafka.opens, opens);
}

std::string detail_of_refusal(Lane &lane) {
    lane.database.same_history = false;
    try {
        lane.run();
    } catch (const Refusal &refusal) {
        return refusal.detail;
    }
    return "not refused";
}

TEST(Pipeline, P11RefusalSaysWhatIsAtStake) {
    Lane lane;
    lane.database.publish(5);
    lane.run();
    lane.kafka.in_topics = {1, 2, 3, 4, 5, 6, 7, 8}; // the last three were lost here
    const std::string said = detail_of_refusal(lane);
    EXPECT_THAT(said, testing::HasSubstr("3 messages are in Kafka and not in this database"));
    EXPECT_THAT(said, testing::Not(testing::HasSubstr("What became of")));
}

// Shipped to a topic whose first mention was lost with it, or not to be read: "0 messages" would be
// no answer.
TEST(Pipeline, P11RefusalCountsWhatItCouldNotFind) {
    Lane lane;
    lane.database.publish(8);
    lane.run();
    lane.database.who.reported = lane.kafka.positions.back().position;
    lane.database.who.reported->counter = 5;
    lane.database.rows.resize(5);
    lane.kafka.in_topics = {3, 4, 5, 7};
    const std::string said = detail_of_refusal(lane);
    EXPECT_THAT(said, testing::HasSubstr("1 messages are in Kafka and not in this database"));
    EXPECT_THAT(said, testing::HasSubstr("What became of 2 more is not known"));
}

// What the last report covers was trimmed, not lost; and a database whose clock is ahead stamps
// what lies in its tables later than the relay stamped the messages.
TEST(Pipeline, P11WhatIsAtStakeBeginsWithTheLastReport) {
    Lane lane;
    lane.database.publish(8);
    lane.run();
    Position &reported = lane.database.who.reported.emplace(lane.kafka.positions.back().position);
    reported.time = "1970-01-02T00:00:00Z";
    lane.database.oldest = 90000'000;
    lane.database.rows.resize(2); // 3 to 8 are nowhere
    lane.kafka.in_topics = {3, 4, 5, 6, 7, 8, 9};
    EXPECT_THAT(detail_of_refusal(lane),
                testing::HasSubstr("1 messages are in Kafka and not in this database; the log"));
    EXPECT_EQ(lane.kafka.scanned_since, 86400'000 - 300'000);
    lane.database.oldest = 1000;
    detail_of_refusal(lane);
    EXPECT_EQ(lane.kafka.scanned_since, 1000);
    lane.database.oldest.reset();
    detail_of_refusal(lane);
    EXPECT_EQ(lane.kafka.scanned_since, 86400'000 - 300'000);
}

TEST(Pipeline, P11RefusalStandsWhenWhatIsAtStakeTakesTooLong) {
    Lane lane;
    lane.database.publish(5);
    lane.run();
    lane.database.same_history = false;
    lane.database.too_slow = true;
    EXPECT_EQ(refusal_of(lane), ExitCode::refused);
}

// An unclean election or a truncated partition: counter 300 was committed, 100 is there.
TEST(Pipeline, P28PositionBehindTheReportIsRefused) {
    Lane lane;
    lane.database.publish(300);
    lane.run();
    lane.database.who.reported = lane.kafka.positions.back().position;
    lane.kafka.positions.resize(2);
    EXPECT_EQ(refusal_of(lane), ExitCode::refused);
    lane.database.who.mode = "continue"; // an operator's answer
    lane.run();
}

// Ids of transactions are used again: what commits under them would be taken for shipped.
TEST(Pipeline, P13ContinueWithoutTheTransactionsThatWereShippedIsRefused) {
    Lane lane;
    lane.database.publish(8);
    lane.run();
    lane.database.who.mode = "continue";
    lane.database.rows.resize(6);
    const auto transactions = lane.kafka.positions.size();
    EXPECT_EQ(refusal_of(lane), ExitCode::refused);
    EXPECT_EQ(lane.kafka.positions.size(), transactions);
    lane.database.publish(2); // as after pg_upgrade: all are there
    EXPECT_EQ(refusal_of(lane), ExitCode::stopped);
}

TEST(Pipeline, P28PositionBehindOurOwnLastCommitIsRefused) {
    Lane lane;
    lane.database.publish(300);
    int calls = 0;
    lane.database.on_next = [&] {
        if (++calls == 3) {
            lane.kafka.positions.resize(2);
            lane.kafka.on_fill = {{Outcome::abort}};
        }
    };
    EXPECT_EQ(refusal_of(lane), ExitCode::refused);
}

// In the middle of a difference the cut is an old one; an entry put aside since then must not be
// younger than the position that passes it.
TEST(Pipeline, P11PositionCoversWhatWasPutAsideBeforeIt) {
    Lane lane;
    lane.options.outbox.on_poison = PoisonPolicy::skip;
    lane.database.publish(300);
    lane.database.rows[299].refused = true;
    lane.database.timeline = 2; // a promotion, after the difference began
    lane.run();
    const Position &last = lane.kafka.positions.back().position;
    EXPECT_EQ(last.last_seq, 300);
    EXPECT_EQ(last.lsn, "0/30");
    EXPECT_EQ(last.timeline, 2u);
}

TEST(Pipeline, P32ReplacedIncarnationsAreFencedBeforeTheTopicsAreLookedAt) {
    Lane lane;
    lane.database.publish(3);
    lane.database.who.mode = "missing";
    lane.database.who.replaced = {"old", "older"};
    lane.kafka.on_open = {{Outcome::retry}};
    lane.run();
    const std::vector<std::string> expected = {"old", "old", "older",
                                               lane.database.who.incarnation};
    EXPECT_EQ(lane.kafka.opened, expected);
    EXPECT_EQ(lane.kafka.log, lane.all());
}

TEST(LaneMetrics, WorkReadAheadIsStillWaitingWhenWhatCameBeforeIsCommitted) {
    LaneMetrics metrics(0);
    metrics.read(100, 5000);
    metrics.read(50, 0);
    EXPECT_EQ(metrics.backlog_events(), 150);
    metrics.passed(100);
    EXPECT_EQ(metrics.backlog_events(), 50);
    EXPECT_NE(metrics.pending_since_ms, 0);
    metrics.read(0, 0); // nothing more to read, but 50 are not committed
    EXPECT_NE(metrics.pending_since_ms, 0);
    metrics.passed(50);
    EXPECT_EQ(metrics.pending_since_ms, 0);
}

TEST(Pipeline, P13OtherClusterIsRefused) {
    Lane lane;
    lane.database.publish(5);
    lane.run();
    lane.kafka.cluster = "cluster-b";
    EXPECT_EQ(refusal_of(lane), ExitCode::refused);
}

TEST(Pipeline, P32RecordFoundButNotArmedReportsFirst) {
    Lane lane;
    lane.database.publish(5);
    lane.run();
    lane.database.who.armed = false; // died between genesis and report
    lane.database.publish(5);
    lane.run();
    EXPECT_TRUE(lane.database.who.armed);
    EXPECT_EQ(lane.kafka.log, lane.all());
}

struct Step {
    const char *name;
    Script script;
    int passes; // how many good ones before: the genesis is the first transaction
};

struct Irregular : testing::TestWithParam<std::tuple<Step, Outcome, bool, std::size_t>> {};

// P3, P7, I11: any step, any outcome, carried out or not, ring of one and of two.
TEST_P(Irregular, P3EachEventOnceAndInOrder) {
    const auto &[step, outcome, done, ring] = GetParam();
    Lane lane;
    lane.kafka.ring_size = ring;
    lane.database.publish(450);
    auto &script = lane.kafka.*step.script;
    for (int i = 0; i < step.passes; ++i)
        script.push_back({});
    for (int again = 0; again < 3; ++again)
        script.push_back({outcome, Trouble::Kind::transient, done});
    lane.run();
    EXPECT_EQ(lane.kafka.log, lane.all());
    EXPECT_EQ(lane.kafka.positions.back().position.counter, 450);
    EXPECT_EQ(lane.metrics.events, 450u);
    EXPECT_EQ(lane.metrics.position, 450);
}

INSTANTIATE_TEST_SUITE_P(
    Outcomes, Irregular,
    testing::Combine(testing::Values(Step{"open", &fake::Kafka::on_open, 0},
                                     Step{"read_back", &fake::Kafka::on_read_back, 0},
                                     Step{"fill", &fake::Kafka::on_fill, 2},
                                     Step{"fill_genesis", &fake::Kafka::on_fill, 0},
                                     Step{"flush", &fake::Kafka::on_flush, 2},
                                     Step{"flush_genesis", &fake::Kafka::on_flush, 0},
                                     Step{"commit", &fake::Kafka::on_commit, 1},
                                     Step{"commit_genesis", &fake::Kafka::on_commit, 0},
                                     Step{"commit_later", &fake::Kafka::on_commit, 3}),
                     testing::Values(Outcome::retry, Outcome::abort, Outcome::fatal),
                     testing::Values(false, true), testing::Values(std::size_t{1}, std::size_t{2})),
    [](const auto &info) {
        return std::string(std::get<0>(info.param).name) + "_" +
               std::string(to_string(std::get<1>(info.param))) +
               (std::get<2>(info.param) ? "_done_" : "_not_done_") +
               std::to_string(std::get<3>(info.param));
    });

TEST(Pipeline, P7UncleanCommitRecyclesAndIsNotSentAgain) {
    Lane lane;
    lane.database.publish(300);
    lane.kafka.on_commit = {{}, {Outcome::abort, Trouble::Kind::unclean, true}};
    const int expected_opens = 2; // start, and after the unclean one
    lane.run();
    EXPECT_EQ(lane.kafka.log, lane.all());
    EXPECT_EQ(lane.kafka.opens, expected_opens);
    EXPECT_EQ(lane.metrics.producer_recycles, 1u);
}

TEST(Pipeline, AttemptsAtTheSamePositionAreCountedUntilOneCommits) {
    Lane lane;
    lane.database.publish(100);
    lane.kafka.on_commit = {{},
                            {Outcome::abort, Trouble::Kind::transient, false},
                            {Outcome::abort, Trouble::Kind::transient, false}};
    std::int64_t most = 0;
    lane.time.on_pause = [&] { most = std::max<std::int64_t>(most, lane.metrics.failed_attempts); };
    lane.run();
    EXPECT_EQ(lane.kafka.log, lane.all());
    EXPECT_EQ(most, 2);
    EXPECT_EQ(lane.metrics.failed_attempts, 0);
}

TEST(Pipeline, R4LaneIsConfirmedBeforeAnybodyIsFenced) {
    Lane lane;
    lane.database.publish(100);
    lane.kafka.on_commit = {{}, {Outcome::fatal, Trouble::Kind::fenced, false}};
    lane.run();
    EXPECT_GE(lane.database.confirms, lane.kafka.opens);
    EXPECT_EQ(lane.kafka.log, lane.all());
}

TEST(Pipeline, P10LostSessionTakesTheLaneAgain) {
    Lane lane;
    lane.database.publish(250);
    lane.database.lose_session_in = 3;
    lane.run();
    EXPECT_EQ(lane.database.claims, 2);
    EXPECT_EQ(lane.kafka.log, lane.all());
}

TEST(Pipeline, P4StandbyWaitsAndTakesOver) {
    Lane lane;
    lane.database.publish(10);
    lane.database.held_by_other = true;
    lane.time.on_pause = [&] {
        EXPECT_EQ(lane.kafka.opens, 0);
        lane.database.held_by_other = lane.time.pauses < 5;
    };
    lane.run();
    EXPECT_EQ(lane.kafka.log, lane.all());
}

TEST(Pipeline, P4StandbyWithUntilEmptyEndsWhenTheHolderReportsEmpty) {
    Lane lane;
    lane.database.publish(10);
    lane.database.held_by_other = true;
    lane.database.who.reported_empty = true;
    lane.database.who.reported_age_s = 0.1;
    lane.run();
    EXPECT_TRUE(lane.kafka.log.empty());
    EXPECT_EQ(lane.metrics.state, WorkState::stopped);
}

TEST(Pipeline, P24StopFinishesWhatIsCommitting) {
    Lane lane;
    lane.until_empty = false;
    lane.kafka.ring_size = 2;
    lane.database.publish(300);
    int calls = 0;
    lane.database.on_next = [&] { lane.time.stop = ++calls == 2; };
    lane.run();
    EXPECT_FALSE(lane.kafka.committing());
    EXPECT_EQ(lane.kafka.log.size() % 100, 0u);
    EXPECT_GE(lane.kafka.log.size(), 100u);
}

TEST(Pipeline, P18RefusedMessageIsFoundParkedAndHoldsItsKey) {
    Lane lane;
    lane.options.outbox.on_poison = PoisonPolicy::hold_key;
    for (int i = 0; i < 300; ++i)
        lane.database.rows.push_back({"t", "k" + std::to_string(i % 7), i == 123});
    lane.run();
    std::vector<std::int64_t> expected;
    for (std::int64_t seq = 1; seq <= 300; ++seq)
        if (seq <= 123 || (seq - 1) % 7 != 123 % 7)
            expected.push_back(seq);
    EXPECT_EQ(lane.kafka.log, expected);
    EXPECT_TRUE(lane.database.parked.count(124));
    EXPECT_TRUE(lane.database.parked.count(131));
    EXPECT_EQ(lane.kafka.positions.back().position.last_seq, 300);
    EXPECT_EQ(lane.kafka.positions.back().position.counter,
              static_cast<std::int64_t>(expected.size()));
    EXPECT_LT(lane.kafka.attempts.size(), 40u); // by halves, not one by one
}

TEST(Pipeline, P18SkipHoldsNothingElse) {
    Lane lane;
    lane.options.outbox.on_poison = PoisonPolicy::skip;
    lane.database.publish(50);
    lane.database.rows[20].refused = true;
    lane.run();
    EXPECT_EQ(lane.kafka.log.size(), 49u);
    EXPECT_EQ(lane.database.parked, std::set<std::int64_t>{21});
}

TEST(Pipeline, P18StopRefusesAndParksNothing) {
    Lane lane;
    lane.options.outbox.on_poison = PoisonPolicy::stop;
    lane.database.publish(50);
    lane.database.rows[20].refused = true;
    EXPECT_EQ(refusal_of(lane), ExitCode::kafka);
    EXPECT_TRUE(lane.database.parked.empty());
    EXPECT_EQ(lane.kafka.log.size(), 20u);
}

TEST(Pipeline, P18RedriveShipsOnceUnderItsNumber) {
    Lane lane;
    lane.database.publish(50);
    lane.database.rows[20].refused = true;
    lane.run();
    lane.database.rows[20].refused = false;
    for (std::int64_t seq = 21; seq <= 50; ++seq)
        lane.database.wanted.push_back(seq);
    lane.run();
    lane.run();
    EXPECT_EQ(lane.kafka.log, lane.all());
    EXPECT_EQ(lane.kafka.positions.back().position.redrive_no, 1);
    EXPECT_EQ(lane.kafka.positions.back().position.last_seq, 50);
}

TEST(Pipeline, P18RedriveRefusedAgainFreesWhatStandsBeforeIt) {
    Lane lane;
    lane.database.publish(40);
    lane.database.rows[20].refused = true;
    lane.run();
    lane.database.rows[20].refused = false;
    lane.database.rows[30].refused = true; // now another one
    for (std::int64_t seq = 21; seq <= 40; ++seq)
        lane.database.wanted.push_back(seq);
    lane.run();
    EXPECT_EQ(lane.database.refused_again, std::vector<std::int64_t>{31});
    std::vector<std::int64_t> sorted = lane.kafka.log;
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(std::adjacent_find(sorted.begin(), sorted.end()), sorted.end());
    EXPECT_TRUE(std::count(sorted.begin(), sorted.end(), 30));
    EXPECT_FALSE(std::count(sorted.begin(), sorted.end(), 31));
}

TEST(Pipeline, P18ClocksThatDifferParkOnlyWhatIsOld) {
    Lane lane;
    lane.database.publish(30);
    lane.kafka.for_time = true;
    lane.database.rows[10].refused = true;
    lane.database.rows[20] = {"t", "other", true, wall_ms()};
    bool was_blocked = false;
    lane.time.on_pause = [&] {
        was_blocked = was_blocked || lane.metrics.state == WorkState::blocked;
        if (was_blocked && lane.time.pauses > 4)
            lane.database.rows[20].refused = false;
    };
    lane.run();
    EXPECT_TRUE(was_blocked);
    EXPECT_TRUE(lane.database.parked.count(11));
    EXPECT_FALSE(lane.database.parked.count(21));
    EXPECT_TRUE(std::count(lane.kafka.log.begin(), lane.kafka.log.end(), 21));
}

TEST(Pipeline, P18MissingTopicBlocksTheLaneAndRecoversByItself) {
    Lane lane;
    lane.database.publish(10);
    lane.kafka.missing_topics = {"t"};
    bool was_blocked = false;
    lane.time.on_pause = [&] {
        was_blocked = was_blocked || lane.metrics.state == WorkState::blocked;
        if (lane.time.pauses > 4)
            lane.kafka.missing_topics.clear();
    };
    lane.run();
    EXPECT_TRUE(was_blocked);
    EXPECT_EQ(lane.kafka.log, lane.all());
}

// A link that cannot carry a full transaction within its time: less is tried, never the same again.
TEST(Pipeline, RE3SlowLinkGetsSmallerTransactions) {
    for (const ReadSize takes : {ReadSize{7, SIZE_MAX}, ReadSize{SIZE_MAX, 1500}}) {
        Lane lane;
        lane.database.publish(300);
        lane.kafka.takes = takes;
        lane.run();
        EXPECT_EQ(lane.kafka.log, lane.all());
        std::size_t failures = 0;
        for (const std::size_t sent : lane.kafka.attempts)
            failures += sent > takes.rows || sent * fake::kEventBytes > takes.bytes;
        EXPECT_LE(failures, 8u);
    }
}

TEST(Pipeline, RE5CulpritsThatOneAnswerNamesAreAllPutAside) {
    Lane lane;
    lane.options.outbox.on_poison = PoisonPolicy::skip;
    lane.database.publish(300);
    lane.kafka.names_culprits = true;
    for (int i = 0; i < 300; i += 10)
        lane.database.rows[i].refused = true;
    lane.run();
    EXPECT_EQ(lane.kafka.log.size(), 270u);
    EXPECT_EQ(lane.database.parked.size(), 30u);
    EXPECT_LE(lane.kafka.attempts.size(), 8u); // genesis, then two for each hundred
}

TEST(Pipeline, RE5CulpritsThatAreKnownBeforehandCostNoAttempt) {
    Lane lane;
    lane.options.outbox.on_poison = PoisonPolicy::skip;
    lane.database.publish(300);
    for (std::int64_t seq = 5; seq <= 300; seq += 10)
        lane.kafka.known_refused.insert(seq);
    lane.run();
    EXPECT_EQ(lane.kafka.log.size(), 270u);
    EXPECT_EQ(lane.metrics.producer_recycles, 0u);
}

TEST(Pipeline, RE5WhatComesBeforeACulpritOfItsKeyFlows) {
    for (const bool beforehand : {true, false}) {
        Lane lane;
        lane.database.publish(10); // one key
        lane.kafka.names_culprits = true;
        if (beforehand)
            lane.kafka.known_refused = {6};
        else
            lane.database.rows[5].refused = true;
        lane.run();
        EXPECT_EQ(lane.kafka.log, (std::vector<std::int64_t>{1, 2, 3, 4, 5}));
        EXPECT_EQ(lane.database.parked, (std::set<std::int64_t>{6, 7, 8, 9, 10}));
    }
}

TEST(Pipeline, RE5bSmallerRequestsAreNoSearch) {
    Lane lane;
    lane.database.publish(300);
    lane.kafka.on_prepare = {Preparation::Kind::ready, Preparation::Kind::batches};
    lane.kafka.on_flush = {{}, {}, {Outcome::abort, Trouble::Kind::batches}};
    lane.run();
    EXPECT_EQ(lane.kafka.log, lane.all());
    EXPECT_TRUE(lane.database.parked.empty());
    EXPECT_EQ(*std::max_element(lane.kafka.attempts.end() - 2, lane.kafka.attempts.end()), 100u);
}

TEST(Pipeline, RE9bWhileTopicsAreAskedAboutAStopIsHeard) {
    Lane lane;
    lane.until_empty = false;
    lane.database.publish(10);
    lane.kafka.on_prepare.assign(100000, Preparation::Kind::pending);
    lane.kafka.on_prepare.front() = Preparation::Kind::ready; // of the genesis
    lane.database.on_next = [&] { lane.time.stop = true; };
    lane.run();
    EXPECT_EQ(lane.metrics.state, WorkState::stopped);
}

// Half of a redrive that did not go through is given back; one that may have been committed is not.
TEST(Pipeline, RE3RedriveThatDoesNotGoThroughIsMadeSmaller) {
    Lane lane;
    lane.database.publish(40);
    lane.database.rows[0].refused = true;
    lane.run();
    lane.database.rows[0].refused = false;
    for (std::int64_t seq = 1; seq <= 40; ++seq)
        lane.database.wanted.push_back(seq);
    lane.kafka.takes = {15, SIZE_MAX};
    lane.run();
    EXPECT_EQ(lane.kafka.log, lane.all());
    EXPECT_EQ(lane.kafka.attempts[lane.kafka.attempts.size() - 4], 10u);
}

TEST(Pipeline, RE3RedriveThatMayBeCommittedIsNotTakenBack) {
    Lane lane;
    lane.database.publish(40);
    lane.database.rows[0].refused = true;
    lane.run();
    lane.database.rows[0].refused = false;
    for (std::int64_t seq = 1; seq <= 40; ++seq)
        lane.database.wanted.push_back(seq);
    lane.kafka.on_commit = {{Outcome::fatal, Trouble::Kind::transient, true}};
    lane.run();
    EXPECT_EQ(lane.kafka.log, lane.all());
}

TEST(Pipeline, RE12PermanentRefusalEndsWithAHint) {
    Lane lane;
    lane.kafka.on_open = {{Outcome::fatal, Trouble::Kind::transient, false, true}};
    EXPECT_EQ(refusal_of(lane), ExitCode::kafka);
}

TEST(Pipeline, P13RearmNoneBeginsWithWhatComes) {
    Lane lane;
    lane.database.publish(10);
    lane.database.who.mode = "none";
    lane.run();
    EXPECT_TRUE(lane.kafka.log.empty());
    lane.database.publish(3);
    lane.run();
    EXPECT_EQ(lane.kafka.log, (std::vector<std::int64_t>{11, 12, 13}));
}

// Decided at three events, started at five: the last two are wanted.
TEST(Pipeline, RE4RearmNoneLeavesOutWhatWasThereWhenItWasDecided) {
    Lane lane;
    lane.database.publish(5);
    lane.database.who.mode = "none";
    lane.database.who.decided_at = fake::Database::snapshot(3);
    lane.run();
    EXPECT_EQ(lane.kafka.log, (std::vector<std::int64_t>{4, 5}));
}

TEST(Pipeline, RE14AnotherClusterUnderARunningRelayIsRefused) {
    Lane lane;
    lane.database.publish(300);
    int calls = 0;
    lane.database.on_next = [&] {
        if (++calls == 2) {
            lane.kafka.cluster_now = "cluster-b";
            lane.kafka.on_flush = {{Outcome::abort}};
        }
    };
    EXPECT_EQ(refusal_of(lane), ExitCode::refused);
    EXPECT_EQ(lane.kafka.log.size(), 100u);
}

TEST(Pipeline, P13RearmMissingShipsWhatTheTopicsLack) {
    Lane lane;
    lane.database.publish(300);
    lane.database.who.mode = "missing";
    for (std::int64_t seq = 1; seq <= 300; seq += 2)
        lane.kafka.in_topics.insert(seq);
    lane.run();
    EXPECT_EQ(lane.kafka.log.size(), 150u);
    EXPECT_EQ(lane.kafka.log.front(), 2);
    EXPECT_EQ(lane.kafka.positions.back().position.counter, 150);
    EXPECT_FALSE(lane.database.who.mode.has_value());
}

TEST(Pipeline, P13RearmContinueGoesOnFromThePosition) {
    Lane lane;
    lane.database.publish(10);
    lane.run();
    lane.database.same_history = false;
    lane.database.who.system_identifier = "8"; // pg_upgrade
    lane.database.who.mode = "continue";
    lane.database.publish(5);
    lane.run();
    EXPECT_EQ(lane.kafka.log, lane.all());
    EXPECT_EQ(lane.kafka.positions.back().position.system_identifier, "8");
    EXPECT_EQ(lane.kafka.positions.back().position.mode, std::nullopt);
}

TEST(Lsn, TheLaterOfTwo) {
    EXPECT_EQ(later_lsn("0/20", "0/9"), "0/20");
    EXPECT_EQ(later_lsn("1/0", "0/FFFFFFFF"), "1/0");
    EXPECT_EQ(later_lsn("", "0/1"), "0/1");
}

} // namespace
} // namespace once::outbox
