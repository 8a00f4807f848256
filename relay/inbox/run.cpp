#include "relay/inbox/run.hpp"

#include "relay/process/exit_code.hpp"
#include "relay/inbox/member.hpp"
#include "relay/process/log.hpp"
#include "relay/options.hpp"
#include "relay/process/stop_signal.hpp"

#include <exception>
#include <mutex>
#include <thread>

namespace once::inbox {
namespace {

// The first of several that fail; it ends all.
class FirstFailure {
  public:
    explicit FirstFailure(StopSignal &stop_signal) : stop_(stop_signal) {}
    void set(std::exception_ptr error) {
        const std::lock_guard lock(guard_);
        if (!first_)
            first_ = std::move(error);
        stop_.request();
    }
    void rethrow() const {
        if (first_)
            std::rethrow_exception(first_);
    }

  private:
    std::mutex guard_;
    std::exception_ptr first_;
    StopSignal &stop_;
};

std::size_t member_count(const Options &options) {
    std::size_t count = 0;
    for (const InboxOptions &inbox : options.inbox)
        count += static_cast<std::size_t>(inbox.members);
    return count;
}

} // namespace

int run(const Options &options, Metrics &metrics, StopSignal &stop) {
    Drain drain(options.until_empty, member_count(options));
    FirstFailure failure(stop);
    std::vector<std::thread> threads;
    std::size_t number = 0;
    for (const InboxOptions &inbox : options.inbox) {
        for (int i = 0; i < inbox.members; ++i, ++number) {
            InboxMetrics &own = metrics.inbox(inbox.consumer, inbox.topic);
            threads.emplace_back([&, number] {
                try {
                    Member(options, inbox, own, stop, drain, number).run();
                } catch (...) {
                    drain.report(number, true);
                    failure.set(std::current_exception());
                }
            });
        }
    }
    for (std::thread &thread : threads)
        thread.join();
    failure.rethrow();
    return static_cast<int>(ExitCode::stopped);
}

} // namespace once::inbox
