#include "relay/outbox/run.hpp"

#include "relay/options.hpp"
#include "relay/outbox/kafka_checkpoint.hpp"
#include "relay/outbox/kafka_transport.hpp"
#include "relay/outbox/pipeline.hpp"
#include "relay/outbox/postgres_queries.hpp"
#include "relay/outbox/postgres_source.hpp"
#include "relay/outbox/upkeep.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/limits.hpp"
#include "relay/process/metrics.hpp"
#include "relay/process/stop_signal.hpp"
#include "relay/process/workers.hpp"

#include <algorithm>

namespace once::outbox {
namespace {

class RealTiming : public Timing {
  public:
    explicit RealTiming(const StopSignal &stop) : stop_(stop) {}
    Instant now() override { return std::chrono::steady_clock::now(); }
    void pause(Span span) override { stop_.wait_for(span); }
    bool stop_requested() override { return stop_.requested(); }

  private:
    const StopSignal &stop_;
};

// Each once: a second thread for a lane would be its own standby.
std::vector<int> lanes_of(const Options &options, const StopSignal &stop) {
    std::vector<int> lanes = options.outbox.lanes;
    if (lanes.empty()) {
        try {
            const auto session =
                postgres::connect(options.database, postgres::Purpose::lane, &stop);
            lanes = postgres::guarded([&] { return queries::lanes(*session); });
        } catch (const postgres::SessionLost &e) {
            if (stop.requested())
                return {};
            throw Refusal(ExitCode::database,
                          "could not use the database: " + std::string(e.what()), {},
                          kDatabaseHint);
        }
        if (lanes.empty())
            throw Refusal(ExitCode::configuration, "the database has no lanes", {},
                          "SELECT once.set_lanes(1) makes one.");
    }
    std::sort(lanes.begin(), lanes.end());
    lanes.erase(std::unique(lanes.begin(), lanes.end()), lanes.end());
    return lanes;
}

void run_lane(const Options &options, int lane, LaneMetrics &metrics, const StopSignal &stop,
              Upkeep &upkeep) {
    RealTiming timing(stop);
    PostgresSource source(options, lane, metrics, stop, upkeep);
    const kafka::Pulse pulse = [&] {
        metrics.beat(); // a long wait is no silence of the thread that ships
        return stop.requested();
    };
    KafkaTransport transport(options, metrics, pulse);
    KafkaCheckpoint checkpoint(options, lane, transport, pulse);
    Pipeline pipeline(options, options.until_empty, lane, source, transport, checkpoint, timing,
                      metrics);
    pipeline.run();
}

} // namespace

// A thread per lane.
int run(const Options &options, Metrics &metrics, StopSignal &stop) {
    const std::vector<int> lanes = lanes_of(options, stop);
    require_descriptors(lanes.size(), 0);
    Upkeep upkeep(options, stop);
    Workers workers(stop, std::chrono::milliseconds(options.outbox.stop_ms));
    for (const int lane : lanes) {
        LaneMetrics &its = metrics.lane(lane);
        workers.start("lane " + std::to_string(lane),
                      [&, lane] { run_lane(options, lane, its, stop, upkeep); });
    }
    workers.wait();
    return static_cast<int>(ExitCode::stopped);
}

} // namespace once::outbox
