// Health is measured: a worker that believes it runs but commits nothing is not ready.
#include "relay/process/http.hpp"
#include "relay/process/metrics.hpp"
#include "relay/process/progress_bar.hpp"
#include "relay/process/stop_signal.hpp"
#include "relay/process/supervisor.hpp"

#include <csignal>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

namespace once {
namespace {

class Client {
  public:
    explicit Client(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
    }
    ~Client() { ::close(socket_); }
    void send(const std::string &text) const {
        ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
    }
    // Until the server hangs up.
    std::string rest() const {
        std::string all;
        char bytes[4096];
        for (ssize_t size; (size = ::recv(socket_, bytes, sizeof bytes, 0)) > 0;)
            all.append(bytes, static_cast<std::size_t>(size));
        return all;
    }

  private:
    int socket_;
};

std::string get(int port, const std::string &path) {
    const Client client(port);
    client.send("GET " + path + " HTTP/1.1\r\nHost: here\r\n\r\n");
    return client.rest();
}

constexpr const char *kGood = "HTTP/1.1 200 OK\r\n";

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;
constexpr std::int64_t kStaleMs = 10'000;

TEST(Health, NothingStartedIsAliveAndNotReady) {
    Metrics metrics;
    EXPECT_TRUE(metrics.alive(kStaleMs).good);
    EXPECT_FALSE(metrics.progressing(kStaleMs).good);
}

TEST(Health, IdleWithAnswersOfTheSourceIsReady) {
    Metrics metrics;
    LaneMetrics &lane = metrics.lane(0);
    lane.enter(WorkState::running);
    EXPECT_FALSE(metrics.progressing(kStaleMs).good) << "no answer of the source yet";
    lane.looked(false);
    EXPECT_TRUE(metrics.progressing(kStaleMs).good);
    lane.looked_ms = now_ms() - kStaleMs - 1;
    EXPECT_THAT(metrics.progressing(kStaleMs).reason, HasSubstr("no answer"));
}

TEST(Health, WorkWithoutACommitIsNotReadyAlthoughTheThreadRuns) {
    Metrics metrics;
    LaneMetrics &lane = metrics.lane(0);
    lane.enter(WorkState::running);
    lane.looked(true);
    EXPECT_TRUE(metrics.progressing(kStaleMs).good);
    lane.pending_since_ms = now_ms() - kStaleMs - 1;
    lane.looked(true);
    EXPECT_THAT(metrics.progressing(kStaleMs).reason, HasSubstr("committed none"));
    EXPECT_TRUE(metrics.alive(kStaleMs).good);
    lane.committed(true);
    EXPECT_TRUE(metrics.progressing(kStaleMs).good);
}

TEST(Health, StatesThatShipNothingAreNotReadyButAStandbyIs) {
    Metrics metrics;
    LaneMetrics &lane = metrics.lane(0);
    for (const WorkState state : {WorkState::starting, WorkState::recovering, WorkState::retrying,
                                  WorkState::blocked, WorkState::stopping}) {
        lane.enter(state);
        EXPECT_FALSE(metrics.progressing(kStaleMs).good) << to_string(state);
    }
    lane.enter(WorkState::standby);
    EXPECT_TRUE(metrics.progressing(kStaleMs).good);
}

TEST(Health, TheReasonSaysHowOftenTheSameWasTried) {
    Metrics metrics;
    LaneMetrics &lane = metrics.lane(0);
    lane.enter(WorkState::recovering);
    EXPECT_THAT(metrics.progressing(1000).reason, EndsWith("lane 0 is recovering"));
    lane.failed();
    lane.failed();
    EXPECT_THAT(metrics.progressing(1000).reason,
                EndsWith("lane 0 is recovering, 2 failed attempts in a row"));
}

TEST(Health, ASilentThreadIsNotAlive) {
    Metrics metrics;
    metrics.lane(0).beat();
    EXPECT_TRUE(metrics.alive(kStaleMs).good);
    metrics.inbox("billing", "orders").heartbeat_ms = now_ms() - kStaleMs - 1;
    EXPECT_THAT(metrics.alive(kStaleMs).reason, HasSubstr("inbox \"billing\" has not come by"));
}

TEST(Health, SystemdHearsNoSignOfLifeOfASilentThread) {
    Metrics metrics;
    InboxMetrics &member = metrics.inbox("billing", "orders");
    member.enter(WorkState::running);
    member.looked(false);
    EXPECT_EQ(notification(metrics, kStaleMs, false), "READY=1\nWATCHDOG=1\nSTATUS=ready\n");
    EXPECT_THAT(notification(metrics, kStaleMs, true), ::testing::StartsWith("STOPPING=1\n"));
    member.heartbeat_ms = now_ms() - 2 * kStaleMs;
    const std::string text = notification(metrics, kStaleMs, false);
    EXPECT_THAT(text, ::testing::Not(HasSubstr("WATCHDOG")));
    EXPECT_THAT(text, HasSubstr("STATUS=inbox \"billing\""));
}

TEST(Health, HttpAnswersMeasureAndNameTheReason) {
    Metrics metrics;
    LaneMetrics &lane = metrics.lane(0);
    lane.enter(WorkState::running);
    lane.looked(false);
    lane.events = 7;
    HttpOptions options;
    options.listen = "127.0.0.1:0";
    const HttpServer server(options, metrics);
    EXPECT_THAT(get(server.port(), "/readyz"), StartsWith(kGood));
    EXPECT_THAT(get(server.port(), "/healthz"), StartsWith(kGood));
    EXPECT_THAT(get(server.port(), "/nothing"), StartsWith("HTTP/1.1 404 "));
    const std::string text = get(server.port(), "/metrics");
    EXPECT_THAT(text, HasSubstr("once_outbox_events_total{lane=\"0\"} 7"));
    EXPECT_THAT(text, HasSubstr("once_outbox_state{lane=\"0\",state=\"running\"} 1"));
    lane.pending_since_ms = now_ms() - kStaleMs - 1;
    EXPECT_THAT(get(server.port(), "/readyz"),
                AllOf(StartsWith("HTTP/1.1 503 "),
                      HasSubstr("lane 0 has work and committed none for 10 s")));
}

TEST(Health, RE10AClientThatSendsNoRequestKeepsNobody) {
    Metrics metrics;
    metrics.lane(0).enter(WorkState::standby);
    HttpOptions options;
    options.listen = "127.0.0.1:0";
    auto server = std::make_unique<HttpServer>(options, metrics);
    std::vector<std::unique_ptr<Client>> hanging;
    for (int i = 0; i < 100; ++i) {
        hanging.push_back(std::make_unique<Client>(server->port()));
        hanging.back()->send("GET /");
        EXPECT_THAT(get(server->port(), "/healthz"), StartsWith(kGood)) << i;
    }
    server.reset(); // returns
    hanging.back()->rest();
}

TEST(Health, RE10ARequestIsAnsweredOrRefusedByWhatItIs) {
    const HttpPages pages{{"/page", [](std::string_view) {
                               return HttpAnswer{200, "text/plain", "here"};
                           }}};
    EXPECT_EQ(http_response("GET /page HTTP/1.1\r\nHost: x\r\n", pages), "");
    EXPECT_THAT(http_response("GET /page?x=1 HTTP/1.1\r\n\r\n", pages),
                AllOf(StartsWith(kGood), EndsWith("\r\n\r\nhere")));
    EXPECT_THAT(http_response("HEAD /page HTTP/1.1\r\n\r\n", pages),
                AllOf(StartsWith(kGood), EndsWith("\r\n\r\n")));
    EXPECT_THAT(http_response("POST /page HTTP/1.1\r\n\r\n", pages), HasSubstr(" 405 "));
    EXPECT_THAT(http_response("GET /other HTTP/1.0\r\n\r\n", pages), HasSubstr(" 404 "));
    EXPECT_THAT(http_response("\r\n\r\n", pages), HasSubstr(" 400 "));
    EXPECT_THAT(http_response(std::string(8192, 'x'), pages), HasSubstr(" 431 "));
}

TEST(Health, RE6AnAnswerOfTheSourceIsNoSignOfLifeOfTheThreadThatShips) {
    Metrics metrics;
    LaneMetrics &lane = metrics.lane(0);
    lane.heartbeat_ms = now_ms() - kStaleMs - 1;
    lane.looked(true); // by the session's thread
    EXPECT_THAT(metrics.alive(kStaleMs).reason, HasSubstr("lane 0 has not come by for 10 s"));
}

TEST(Health, RE9AWaitThatWasDeclaredIsNoDeath) {
    Metrics metrics;
    LaneMetrics &lane = metrics.lane(0);
    {
        const BoundedWait wait(lane, std::chrono::seconds(30));
        lane.heartbeat_ms = now_ms() - kStaleMs - 1;
        EXPECT_TRUE(metrics.alive(kStaleMs).good);
        lane.waits_until_ms = now_ms() - kStaleMs - 1;
        EXPECT_FALSE(metrics.alive(kStaleMs).good) << "it did not end when it should have";
    }
    EXPECT_TRUE(metrics.alive(kStaleMs).good);
}

TEST(Health, RE8BeforeTheFirstAnswerNoAgeIsMadeUp) {
    Metrics metrics;
    metrics.lane(0).enter(WorkState::running);
    EXPECT_EQ(metrics.progressing(kStaleMs).reason, "lane 0 has had no answer from its source yet");
}

TEST(Health, ATakenPortIsRefused) {
    Metrics metrics;
    HttpOptions options;
    options.listen = "127.0.0.1:0";
    const HttpServer first(options, metrics);
    options.listen = "127.0.0.1:" + std::to_string(first.port());
    EXPECT_ANY_THROW(HttpServer(options, metrics));
}

TEST(Health, OnlyLoopbackUnlessAllowed) {
    HttpOptions options;
    for (const char *good : {"127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "localhost:1"}) {
        options.listen = good;
        EXPECT_NO_THROW(check_listen(options, "test")) << good;
    }
    for (const char *bad : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1", "::1:1", ":1",
                            "127.0.0.1", "127.0.0.1:", "127.0.0.1:x"}) {
        options.listen = bad;
        EXPECT_ANY_THROW(check_listen(options, "test")) << bad;
    }
    options.allow_remote = true;
    options.listen = "0.0.0.0:1";
    EXPECT_NO_THROW(check_listen(options, "test"));
}

TEST(Health, ProgressBarShowsPartAndRate) {
    EXPECT_EQ(ProgressBar::draw(500, 500, 2),
              "[###############               ]  50 %  500 of 1000, 250/s");
    EXPECT_THAT(ProgressBar::draw(0, 0, 0), HasSubstr("100 %  0 of 0"));
}

TEST(StopSignal, ASignalSetsTheFlagAndEndsASleep) {
    StopSignal stop;
    stop.listen_to_signals();
    EXPECT_FALSE(stop.wait_for(std::chrono::milliseconds(10)));
    std::thread sender([] { kill(getpid(), SIGTERM); });
    EXPECT_TRUE(stop.wait_for(std::chrono::seconds(10)));
    sender.join();
    EXPECT_TRUE(stop.requested());
    EXPECT_TRUE(stop.wait_for(std::chrono::hours(1))) << "returns at once when already requested";
    signal(SIGTERM, SIG_DFL);
}

// As PID 1 of a container does: there the kernel does nothing for a signal's default.
TEST(StopSignal, RE17ASecondSignalEndsTheProcessAtOnce) {
    EXPECT_EXIT(
        {
            StopSignal stop;
            stop.listen_to_signals();
            std::raise(SIGTERM);
            std::raise(SIGTERM);
        },
        ::testing::ExitedWithCode(128 + SIGTERM), "");
}

TEST(StopSignal, RE17AHangupIsNoStop) {
    StopSignal stop;
    stop.listen_to_signals();
    std::raise(SIGHUP);
    EXPECT_FALSE(stop.requested());
    signal(SIGTERM, SIG_DFL);
}

} // namespace
} // namespace once
