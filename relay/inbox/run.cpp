#include "relay/inbox/run.hpp"

#include "relay/process/exit_code.hpp"
#include "relay/inbox/consumer.hpp"
#include "relay/inbox/member.hpp"
#include "relay/inbox/receiver.hpp"
#include "relay/process/log.hpp"
#include "relay/options.hpp"
#include "relay/process/limits.hpp"
#include "relay/process/stop_signal.hpp"
#include "relay/process/workers.hpp"

#include <chrono>

namespace once::inbox {
namespace {

// A batch under way has 5 s of it (session.cpp), then it is rolled back.
constexpr std::chrono::milliseconds kStopLimit{10000};

void run_member(const Options &options, const InboxOptions &inbox, InboxMetrics &metrics,
                const StopSignal &stop, Drain &drain, std::size_t number) {
    Member *working = nullptr;
    Receiver database(options.database, inbox, stop,
                      [&] { return working != nullptr ? working->while_server_works() : 1000; });
    const JoinGroup join = [&](const std::string &client_id) {
        return std::make_unique<Consumer>(options.kafka, inbox, client_id);
    };
    Member member(options, inbox, database, join, metrics, stop, drain, number);
    working = &member;
    member.run();
}

std::size_t member_count(const Options &options) {
    std::size_t count = 0;
    for (const InboxOptions &inbox : options.inbox)
        count += static_cast<std::size_t>(inbox.members);
    return count;
}

} // namespace

int run(const Options &options, Metrics &metrics, StopSignal &stop) {
    Drain drain(options.until_empty, member_count(options));
    require_descriptors(0, member_count(options));
    Workers workers(stop, kStopLimit);
    std::size_t number = 0;
    for (const InboxOptions &inbox : options.inbox) {
        for (int i = 0; i < inbox.members; ++i, ++number) {
            InboxMetrics &own = metrics.inbox(inbox.consumer, inbox.topic);
            workers.start("inbox \"" + inbox.consumer + "\" member " + std::to_string(i),
                          [&, number] {
                              try {
                                  run_member(options, inbox, own, stop, drain, number);
                              } catch (...) {
                                  drain.report(number, true);
                                  throw;
                              }
                          });
        }
    }
    workers.wait();
    return static_cast<int>(ExitCode::stopped);
}

} // namespace once::inbox
