#include "relay/outbox/at_stake.hpp"

#include "relay/process/log.hpp"

#include <algorithm>
#include <utility>

namespace once::outbox {
namespace {

// What a refusal names.
constexpr std::size_t kNamed = 1000;
constexpr std::size_t kAskedAtOnce = 50000;
// The clocks of the hosts that relays and brokers run on may differ by so much; reading a little
// more than needed costs a moment.
constexpr std::int64_t kClockSlackMs = 300000;

// Message times are the earlier of the database's clock at publishing and the relay's at shipping.
std::int64_t first_at_stake(Source &source, const Identity &identity, bool reported) {
    const auto oldest = source.oldest_ms();
    const auto shipped = reported ? time_ms(*identity.reported) : std::nullopt;
    if (!shipped)
        return oldest.value_or(0);
    return std::max<std::int64_t>(0, std::min(oldest.value_or(*shipped), *shipped - kClockSlackMs));
}

void log_lost(int lane, const std::vector<Uuid> &lost) {
    std::string line;
    for (std::size_t i = 0; i < std::min(lost.size(), kNamed); ++i) {
        line += (line.empty() ? "" : ",") + to_text(lost[i]);
        if (i % 20 == 19 || i + 1 == std::min(lost.size(), kNamed))
            log::error("only_in_kafka", {{"lane", lane}, {"ids", std::exchange(line, {})}});
    }
}

// Nothing behind the last report that is here was trimmed, and what was shipped before it was
// committed before it, so it was not lost: only what counts higher is asked about. The counter is
// dense, so it tells how many were not found.
std::string count(LaneControl &control, Source &source, Checkpoint &checkpoint,
                  const Identity &identity, const Position &shipped) {
    const bool comparable =
        identity.reported && identity.reported->incarnation == shipped.incarnation;
    const std::int64_t reported = comparable ? identity.reported->counter : 0;
    const auto since = first_at_stake(source, identity, comparable);
    control.beat();
    std::vector<Uuid> ids, lost;
    const auto compare = [&] {
        for (const Uuid &id : source.missing_ids(ids))
            lost.push_back(id);
        ids.clear();
    };
    std::int64_t unseen = shipped.counter - reported;
    const std::string name = identity.incarnation + "/" + std::to_string(control.lane());
    const auto look = [&](const Uuid &id, std::int64_t counter) {
        if (counter <= reported)
            return;
        unseen -= counter <= shipped.counter;
        ids.push_back(id);
        if (ids.size() == kAskedAtOnce)
            compare();
    };
    static_cast<void>(checkpoint.scan(source.topics(), name, since, look));
    compare();
    log_lost(control.lane(), lost);
    std::string said =
        std::to_string(lost.size()) + " messages are in Kafka and not in this database";
    if (!lost.empty())
        said += "; the log names the first " + std::to_string(std::min(lost.size(), kNamed));
    if (unseen > 0)
        said += ". What became of " + std::to_string(unseen) +
                " more is not known: their topics are not known here, or could not be read, or "
                "have removed them";
    return said + ".";
}

} // namespace

std::string at_stake(LaneControl &control, Source &source, Checkpoint &checkpoint,
                     const Identity &identity, const Position &shipped) {
    try {
        return count(control, source, checkpoint, identity, shipped);
    } catch (const SourceLost &e) {
        return "What is at stake is not known: " + std::string(e.what()) + ".";
    }
}

} // namespace once::outbox
