#include "relay/outbox/run.hpp"

#include "relay/postgres/session.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"
#include "relay/process/metrics.hpp"
#include "relay/options.hpp"
#include "relay/outbox/kafka_sink.hpp"
#include "relay/outbox/pipeline.hpp"
#include "relay/outbox/postgres_source.hpp"
#include "relay/process/stop_signal.hpp"

#include <exception>
#include <mutex>
#include <thread>

namespace once::outbox {
namespace {

class RealTiming : public Timing {
  public:
    RealTiming(const StopSignal &stop, const std::atomic<bool> &give_up)
        : stop_(stop), give_up_(give_up) {}
    Instant now() override { return std::chrono::steady_clock::now(); }
    void pause(Span span) override {
        if (!stop_requested())
            stop_.wait_for(span);
    }
    bool stop_requested() override { return stop_.requested() || give_up_; }

  private:
    const StopSignal &stop_;
    const std::atomic<bool> &give_up_; // another lane ended the program
};

std::vector<int> lanes_of(const Options &options) {
    if (!options.outbox.lanes.empty())
        return options.outbox.lanes;
    try {
        const auto connection = postgres::connect(options.database);
        return postgres::guarded([&] {
            pqxx::nontransaction work(connection->pqxx());
            std::vector<int> lanes;
            for (const auto &row : work.exec("SELECT lane FROM once.lane ORDER BY lane"))
                lanes.push_back(row[0].as<int>());
            return lanes;
        });
    } catch (const postgres::SessionLost &e) {
        throw Refusal(ExitCode::database, "could not use the database: " + std::string(e.what()),
                      {}, kDatabaseHint);
    }
}

void run_lane(const Options &options, int lane, Metrics &metrics, Timing &timing) {
    LaneMetrics &its = metrics.lane(lane);
    PostgresSource source(options, lane, its);
    KafkaSink sink(options, its, [&timing] { return timing.stop_requested(); });
    Pipeline pipeline(options, options.until_empty, lane, source, sink, timing, its);
    pipeline.run();
}

} // namespace

// A thread per lane; the first that cannot go on ends all, and its reason is the program's.
int run(const Options &options, Metrics &metrics, StopSignal &stop) {
    const std::vector<int> lanes = lanes_of(options);
    if (lanes.empty())
        throw Refusal(ExitCode::configuration, "the database has no lanes", {},
                      "SELECT once.set_lanes(1) makes one.");
    std::atomic<bool> give_up{false};
    std::mutex mutex;
    std::exception_ptr reason;
    std::vector<std::thread> threads;
    for (const int lane : lanes)
        threads.emplace_back([&, lane] {
            RealTiming timing(stop, give_up);
            try {
                run_lane(options, lane, metrics, timing);
            } catch (...) {
                const std::lock_guard lock(mutex);
                if (!reason)
                    reason = std::current_exception();
                give_up = true;
            }
        });
    for (std::thread &thread : threads)
        thread.join();
    if (reason)
        std::rethrow_exception(reason);
    return static_cast<int>(ExitCode::stopped);
}

} // namespace once::outbox
