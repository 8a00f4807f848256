// A call that may hang, in a thread of its own, so that whoever wants its answer can leave: at a
// deadline, or when the process is asked to stop. A call that was left goes on alone and its answer
// is thrown away when it comes; the process does not wait for it at its end (workers.hpp).
#pragma once

#include "relay/process/stop_signal.hpp"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace once {

// Nothing: no answer within the limit, or asked to stop (where `stop` is given). What fn throws is
// thrown here. fn owns all it uses: it may outlive the caller.
template <typename Function>
auto aside(Function fn, std::chrono::milliseconds limit, const StopSignal *stop = nullptr)
    -> std::optional<decltype(fn())> {
    struct Shared {
        std::mutex guard;
        std::condition_variable changed;
        std::optional<decltype(fn())> answer;
        std::exception_ptr failure;
        bool done = false;
    };
    const auto shared = std::make_shared<Shared>();
    std::thread([shared, fn = std::move(fn)]() mutable {
        std::optional<decltype(fn())> answer;
        std::exception_ptr failure;
        try {
            answer.emplace(fn());
        } catch (...) {
            failure = std::current_exception();
        }
        const std::lock_guard lock(shared->guard);
        shared->answer = std::move(answer);
        shared->failure = std::move(failure);
        shared->done = true;
        shared->changed.notify_all();
    }).detach();
    constexpr std::chrono::milliseconds kListenMs{50}; // to the stop signal
    const auto until = std::chrono::steady_clock::now() + limit;
    std::unique_lock lock(shared->guard);
    while (!shared->done && std::chrono::steady_clock::now() < until &&
           !(stop != nullptr && stop->requested()))
        shared->changed.wait_for(lock, kListenMs);
    if (shared->failure)
        std::rethrow_exception(shared->failure);
    return std::exchange(shared->answer, std::nullopt);
}

} // namespace once
