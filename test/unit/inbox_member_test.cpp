// A member's policies against a group and a database in memory: what is split, tried again, put
// aside, and what its health says.
#include "fake_group.hpp"
#include "relay/options.hpp"
#include "relay/process/stop_signal.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <thread>

namespace once::inbox {
namespace {

using std::chrono::steady_clock;

class InboxMember : public ::testing::Test {
  protected:
    Options options;
    InboxOptions inbox;
    fake::Kafka kafka;
    fake::Database database;
    InboxMetrics metrics{"billing", "t", 0};
    StopSignal stop;
    std::unique_ptr<Drain> drain = std::make_unique<Drain>(false, 1);
    fake::Group *group = nullptr;
    std::unique_ptr<Member> member;

    InboxMember() {
        inbox.topic = "t";
        inbox.group = inbox.consumer = "billing";
        inbox.handler = "app.apply";
        kafka.log[0];
    }
    void start() {
        const auto join = [this](const std::string &) {
            auto joined = std::make_unique<fake::Group>(kafka);
            group = joined.get();
            return joined;
        };
        member = std::make_unique<Member>(options, inbox, database, join, metrics, stop, *drain, 0);
    }
    void send(int count, std::int32_t partition = 0) {
        for (int i = 0; i < count; ++i)
            kafka.send(partition, std::to_string(i), "k" + std::to_string(i));
    }
    template <typename Done> void step_until(Done done, const char *what) {
        if (!member)
            start();
        const auto deadline = steady_clock::now() + std::chrono::seconds(30);
        while (!done()) {
            ASSERT_LT(steady_clock::now(), deadline) << what;
            member->step();
        }
    }
    void step_until_effects(std::size_t count) {
        step_until([&] { return database.effects.size() >= count; }, "effects");
    }
    // Every message once and in order, but for those that were put aside.
    void expect_order(const std::set<std::string> &aside = {}) {
        std::vector<std::string> expected;
        for (const fake::Sent &sent : kafka.log[0])
            if (!aside.contains(sent.value))
                expected.push_back(sent.value);
        EXPECT_EQ(database.effects, expected);
    }
    bool ready() { return metrics.state == WorkState::running; }
};

TEST_F(InboxMember, I13AppliesInOrderAndTellsKafkaHowFar) {
    send(500);
    step_until_effects(500);
    expect_order();
    step_until([&] { return kafka.committed[{"t", 0}].offset == 500; }, "offsets at Kafka");
    EXPECT_TRUE(ready());
}

TEST_F(InboxMember, RE7MarkersBehindTheLastMessageAreNoWork) {
    send(20);
    kafka.markers[0] = 4;
    step_until_effects(20);
    step_until(
        [&] {
            return kafka.committed[{"t", 0}].offset == 24;
        },
        "what is told to Kafka passes the markers");
    step_until([&] { return metrics.looked_ms > 0 && metrics.pending_since_ms == 0; }, "no work");
    EXPECT_EQ(metrics.lag_messages, 0);
    EXPECT_EQ(database.stored.at({"t", 0}), 20);
}

TEST_F(InboxMember, RE7AnEndThatWasReachedDoesNotPassWhatIsNotApplied) {
    PartitionLease lease;
    lease.next = 3;
    lease.read = 7;
    lease.reached = 9;
    EXPECT_EQ(lease.done_to(), 3);
    lease.next = 7;
    EXPECT_EQ(lease.done_to(), 9);
}

TEST_F(InboxMember, RE8BlockedEndsWithTheLeaseAndAnAnswerNotWithAMessage) {
    start();
    step_until([&] { return database.fence > 0 && ready(); }, "it runs");
    Polled trouble;
    trouble.kind = Polled::Kind::trouble;
    trouble.blocked = true;
    trouble.text = "unknown topic";
    kafka.events.push_back(trouble);
    member->step();
    EXPECT_EQ(metrics.state, WorkState::blocked);
    Polled revoked;
    revoked.kind = Polled::Kind::revoked;
    revoked.places = {{"t", 0}};
    kafka.events.push_back(revoked);
    member->step();
    EXPECT_EQ(metrics.state, WorkState::blocked) << "nothing is assigned";
    Polled assigned;
    assigned.kind = Polled::Kind::assigned;
    assigned.places = {{"t", 0}};
    kafka.events.push_back(assigned);
    step_until([&] { return ready(); }, "blocked is over");
    EXPECT_TRUE(database.effects.empty());
}

TEST_F(InboxMember, RE8RetryingEndsWhenAllIsAppliedOfOthersToo) {
    start();
    step_until([&] { return database.fence > 0 && ready(); }, "it runs");
    Polled trouble;
    trouble.kind = Polled::Kind::trouble;
    trouble.outlived = true;
    trouble.text = "maximum poll interval exceeded";
    kafka.events.push_back(trouble);
    member->step();
    EXPECT_EQ(metrics.state, WorkState::retrying);
    step_until([&] { return ready(); }, "retrying is over");
}

TEST_F(InboxMember, US7AMessageOfAForeignServerStopsNobodyElse) {
    for (const char *state : {"08001", "08006", "53400", "53200", "53300", "58P01", "58030",
                              "55P03", "57P03", "25006", "57014"}) {
        member.reset();
        database = {};
        kafka = {};
        kafka.log[0];
        send(90);
        database.refuses = [&](const std::string &value) {
            return value == "20" ? std::optional<std::string>(state) : std::nullopt;
        };
        inbox.max_attempts = 1;
        step_until_effects(89);
        expect_order({"20"});
        step_until([&] { return !database.rows.empty(); }, "it is kept");
        EXPECT_EQ(database.rows.front().parked, std::string(state) == "57014") << state;
    }
}

TEST_F(InboxMember, E6AConflictAndAFullDiskAreNoMessagesFault) {
    for (const char *state : {"40001", "40P01", "53100"}) {
        member.reset();
        database = {};
        kafka = {};
        kafka.log[0];
        send(10);
        int times = 3;
        database.refuses = [&](const std::string &value) -> std::optional<std::string> {
            if (value == "4" && times-- > 0)
                return state;
            return std::nullopt;
        };
        step_until_effects(10);
        expect_order();
        EXPECT_EQ(database.parks, 0) << state;
    }
}

TEST_F(InboxMember, US10WhatMayHealIsTriedLaterAndHoldsItsKeyOnly) {
    send(50);
    database.refuses = [](const std::string &value) {
        return value == "7" ? std::optional<std::string>("23503") : std::nullopt;
    };
    step_until_effects(49);
    expect_order({"7"});
    ASSERT_EQ(database.rows.size(), 1u);
    EXPECT_FALSE(database.rows.front().parked);
    EXPECT_EQ(database.rows.front().retry_in_s, 1);
    EXPECT_EQ(database.rows.front().attempts, 1);
    EXPECT_EQ(metrics.retries_later, 1u);
}

TEST_F(InboxMember, US10PausesOfTheOperatorCount) {
    inbox.retry.pauses_s = {{"P0001", {30}}, {"23503", {}}};
    inbox.max_attempts = 2;
    send(20);
    database.refuses = [](const std::string &value) {
        return value == "3"    ? std::optional<std::string>("P0001")
               : value == "12" ? std::optional<std::string>("23503")
                               : std::nullopt;
    };
    step_until_effects(18);
    ASSERT_EQ(database.rows.size(), 2u);
    EXPECT_EQ(database.rows[0].retry_in_s, 30);
    EXPECT_TRUE(database.rows[1].parked);
    EXPECT_EQ(database.rows[1].attempts, 2);
}

TEST_F(InboxMember, E10PoisonHasItsAttemptsAndStopPutsNothingAside) {
    inbox.on_poison = PoisonPolicy::stop;
    inbox.max_attempts = 3;
    send(5);
    int tried = 0;
    database.refuses = [&](const std::string &value) {
        tried += value == "2" ? 1 : 0;
        return value == "2" ? std::optional<std::string>("23503") : std::nullopt;
    };
    start();
    EXPECT_THROW(step_until([] { return false; }, "it ends"), Refusal);
    EXPECT_EQ(database.parks, 0);
    EXPECT_GE(tried, 3);
}

// Four pauses of 50 to 400 ms for each message would be all the time there is.
TEST_F(InboxMember, D2AStormOfPoisonIsPutAside) {
    constexpr int kCount = 2000;
    send(kCount);
    database.refuses = [](const std::string &value) {
        return std::stoi(value) % 2 == 0 ? std::optional<std::string>("P0001") : std::nullopt;
    };
    const auto begun = steady_clock::now();
    step_until_effects(kCount / 2);
    step_until([&] { return database.rows.size() == kCount / 2; }, "put aside");
    EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(20));
}

TEST_F(InboxMember, RE11ABatchIsNoLargerThanTheGroupWaitsFor) {
    options.kafka.passthrough["max.poll.interval.ms"] = "400";
    inbox.max_rows = 1000;
    send(300);
    database.on_apply = [](std::size_t rows) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2 * rows));
    };
    step_until_effects(300);
    expect_order();
    EXPECT_LE(*std::max_element(database.batches.begin() + 1, database.batches.end()), 50u)
        << "a quarter of the interval, at the rate measured";
}

TEST_F(InboxMember, RE13WhatPassesInOurOwnStatementsEndsNobody) {
    for (const char *state : {"57014", "55P03", "40001", "53100", "08006"}) {
        SCOPED_TRACE(state);
        send(1);
        database.own_error = SqlError(state, "passing");
        const std::size_t count = database.effects.size() + 1;
        step_until_effects(count);
    }
    EXPECT_EQ(database.parks, 0);
    EXPECT_EQ(database.connects, 1);
}

TEST_F(InboxMember, US12ASessionWhosePlansAreGoneIsReplaced) {
    send(5);
    database.own_error = SqlError("26000", "prepared statement \"fence\" does not exist");
    step_until_effects(5);
    expect_order();
    EXPECT_EQ(database.connects, 2);
}

TEST_F(InboxMember, RE11APartitionThatIsBusyDoesNotStopTheOthers) {
    kafka.log[1];
    send(20, 0);
    send(20, 1);
    database.busy.insert({"t", 1});
    step_until_effects(20);
    expect_order();
    database.busy.clear();
    step_until_effects(40);
}

TEST_F(InboxMember, F11TheRestIsDrainedBeforeAnybodyLeaves) {
    drain = std::make_unique<Drain>(true, 1);
    send(100);
    kafka.markers[0] = 2;
    step_until([&] { return drain->complete(); }, "drained");
    expect_order();
}

} // namespace
} // namespace once::inbox
