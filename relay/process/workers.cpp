#include "relay/process/workers.hpp"

#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"

#include <algorithm>
#include <system_error>

#include <unistd.h>

namespace once {
namespace {

// Between two looks at the stop signal.
constexpr std::chrono::milliseconds kListen{1000};
// Beyond stop_limit: each worker's own end to its waits comes first.
constexpr std::chrono::milliseconds kSlack{2000};

} // namespace

std::exception_ptr in_words(std::exception_ptr error) {
    try {
        std::rethrow_exception(error);
    } catch (const std::system_error &failure) {
        if (failure.code() != std::errc::resource_unavailable_try_again)
            return error;
        return std::make_exception_ptr(
            Refusal(ExitCode::bug, "could not start a thread: " + failure.code().message(),
                    "The limit of processes and threads of this user or container is reached.",
                    "Raise it (ulimit -u, pids.max), or run fewer lanes and members."));
    } catch (...) {
        return error;
    }
}

Workers::Workers(StopSignal &stop, std::chrono::milliseconds stop_limit)
    : stop_(stop), stop_limit_(stop_limit) {}

Workers::~Workers() {
    stop_.request();
    join_all();
}

void Workers::start(std::string name, std::function<void()> work) {
    Worker *worker = nullptr;
    {
        const std::lock_guard lock(guard_);
        worker = &workers_.emplace_back();
        worker->name = std::move(name);
    }
    try {
        worker->thread =
            std::thread([this, worker, work = std::move(work)] { run(*worker, work); });
    } catch (const std::system_error &) {
        {
            const std::lock_guard lock(guard_);
            workers_.pop_back();
        }
        std::rethrow_exception(in_words(std::current_exception()));
    }
}

void Workers::wait() {
    join_all();
    if (first_)
        std::rethrow_exception(first_);
}

void Workers::run(Worker &self, const std::function<void()> &work) noexcept {
    try {
        work();
    } catch (...) {
        fail(in_words(std::current_exception()));
    }
    const std::lock_guard lock(guard_);
    self.ended = true;
    changed_.notify_all();
}

// Told before anything is waited for: a supervisor acts on it, and what hangs must not hide it.
void Workers::fail(std::exception_ptr why) noexcept {
    const std::lock_guard lock(guard_);
    if (!first_) {
        first_ = std::move(why);
        try {
            std::rethrow_exception(first_);
        } catch (Refusal &refusal) {
            tell(refusal);
        } catch (...) {
            // application.cpp has the words for it
        }
    }
    stop_.request();
}

bool Workers::all_ended() const {
    return std::all_of(workers_.begin(), workers_.end(),
                       [](const Worker &worker) { return worker.ended; });
}

void Workers::join_all() {
    {
        std::unique_lock lock(guard_);
        while (!all_ended()) {
            changed_.wait_for(lock, kListen);
            if (!all_ended() && stop_.requested() &&
                std::chrono::steady_clock::now() > stop_.requested_at() + stop_limit_ + kSlack)
                leave_behind();
        }
    }
    for (Worker &worker : workers_)
        if (worker.thread.joinable())
            worker.thread.join();
}

// Nothing is lost: everything here survives a crash.
void Workers::leave_behind() {
    for (const Worker &worker : workers_)
        if (!worker.ended)
            log::error("stop_forced", {{"worker", worker.name}});
    int code = static_cast<int>(ExitCode::stopped);
    if (first_)
        try {
            std::rethrow_exception(first_);
        } catch (const Refusal &refusal) {
            code = static_cast<int>(refusal.code);
        } catch (...) {
            code = static_cast<int>(ExitCode::bug);
        }
    ::_exit(code);
}

} // namespace once
