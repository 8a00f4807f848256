#include "relay/process/progress_bar.hpp"

#include "relay/process/standard_error.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include <fmt/format.h>
#include <unistd.h>

namespace once {

namespace {

constexpr int kWidth = 30;
constexpr auto kPeriod = std::chrono::milliseconds(500);

struct Sum {
    std::uint64_t done = 0, left = 0;
};

Sum sum_of(const Metrics &metrics) {
    Sum sum;
    for (const LaneMetrics *lane : metrics.lanes()) {
        sum.done += lane->events;
        sum.left += static_cast<std::uint64_t>(std::max<std::int64_t>(0, lane->backlog_events()));
    }
    for (const InboxMetrics *inbox : metrics.inboxes()) {
        sum.done += inbox->messages + inbox->duplicates;
        sum.left += static_cast<std::uint64_t>(std::max<std::int64_t>(0, inbox->lag_messages));
    }
    return sum;
}

} // namespace

std::string ProgressBar::draw(std::uint64_t done, std::uint64_t left, double seconds) {
    const std::uint64_t all = done + left;
    const double part = all == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(all);
    const int filled = static_cast<int>(part * kWidth);
    return fmt::format("[{}{}] {:3.0f} %  {} of {}, {:.0f}/s", std::string(filled, '#'),
                       std::string(kWidth - filled, ' '), part * 100, done, all,
                       seconds > 0 ? static_cast<double>(done) / seconds : 0.0);
}

ProgressBar::ProgressBar(const Options &options, const Metrics &metrics) {
    if (!options.until_empty || isatty(STDERR_FILENO) == 0)
        return;
    thread_ = std::jthread([&metrics](const std::stop_token &stop) {
        std::mutex guard;
        std::condition_variable_any timer;
        const std::int64_t began = now_ms();
        // Before the first look nothing is known, which is not nothing to do: then nothing is
        // shown.
        const auto show = [&](const char *end) {
            const auto [done, left] = sum_of(metrics);
            if (done + left > 0)
                write_standard_error(
                    "\r\x1b[K" + draw(done, left, static_cast<double>(now_ms() - began) / 1000) +
                    end);
        };
        std::unique_lock lock(guard);
        while (!timer.wait_for(lock, stop, kPeriod, [] { return false; }) && !stop.stop_requested())
            show("");
        show("\n");
    });
}

ProgressBar::~ProgressBar() = default;

} // namespace once
