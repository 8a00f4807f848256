// The threads of a worker command: the first that cannot go on ends all, its reason is told at once
// and is the program's. Nobody waits for ever at the end: whoever has not come back when the time
// to stop is over is left behind, and the process with it.
#pragma once

#include "relay/process/stop_signal.hpp"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>

namespace once {

// What a thread that cannot be made throws, in words, as a Refusal; anything else as it is.
std::exception_ptr in_words(std::exception_ptr error);

class Workers {
  public:
    // `stop_limit`: so long a worker has after a stop was requested.
    Workers(StopSignal &stop, std::chrono::milliseconds stop_limit);
    // Requests a stop and waits as wait() does.
    ~Workers();
    Workers(const Workers &) = delete;
    Workers &operator=(const Workers &) = delete;

    // Throws Refusal where no thread can be had.
    void start(std::string name, std::function<void()> work);
    // Until all have ended; throws what the first failure threw.
    void wait();

  private:
    struct Worker {
        std::string name;
        std::thread thread;
        bool ended = false;
    };

    void run(Worker &self, const std::function<void()> &work) noexcept;
    void fail(std::exception_ptr why) noexcept;
    bool all_ended() const;
    void join_all();
    [[noreturn]] void leave_behind();

    StopSignal &stop_;
    const std::chrono::milliseconds stop_limit_;
    std::mutex guard_;
    std::condition_variable changed_;
    std::list<Worker> workers_;
    std::exception_ptr first_;
};

} // namespace once
