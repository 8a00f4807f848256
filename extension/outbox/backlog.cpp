#include "outbox/backlog.hpp"

#include "errors.hpp"
#include "outbox/lanes.hpp"
#include "pg/owner.hpp"
#include "pg/spi.hpp"

#include <algorithm>
#include <map>

extern "C" {
#include <utils/timestamp.h>
}

namespace once {
namespace {

// What this session found when it counted last.
struct Counted {
    Oid sequence = InvalidOid;
    int64_t passed_to = 0; // distances are measured from here
    int64_t waiting = 0;
    TimestampTz next_count = 0;
};

// Counting costs time in proportion to the limit: at most a twentieth of a session's time goes into
// it, at most once a second. In between the last answer stands, so the limit is a soft one.
constexpr int64_t kPauseUs = 1'000'000, kPauseFactor = 20;

// Waiting events, counted up to one more than the limit; the newest committed state, whatever the
// isolation level.
int64_t count_waiting(int lane, int64_t limit) {
    static pg::Plan plan("SELECT once.lane_waiting($1, $2)", {INT4OID, INT8OID});
    pg::OwnerScope owner(
        pg::relation_oid("once", "lane")); // publishers may publish and nothing else
    const pg::Spi spi;
    const pg::NewestSnapshot snapshot;
    const Datum values[] = {Int32GetDatum(lane), Int64GetDatum(limit)};
    plan.execute(values, snapshot);
    return pg::call([] {
        bool null;
        return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
    });
}

} // namespace

void check_backlog(int lane, int64_t limit) {
    static std::map<int, Counted> counted;
    const Oid sequence = lanes().lane[static_cast<size_t>(lane)].sequence;
    Counted &known = counted[lane];
    if (known.sequence != sequence)
        known = {.sequence = sequence};
    const int64_t drawn = pg::call([&] { return last_drawn(sequence); });
    if (drawn - known.passed_to < limit)
        return;
    const TimestampTz begin = GetCurrentTimestamp();
    if (begin >= known.next_count) {
        known.waiting = count_waiting(lane, limit);
        const TimestampTz end = GetCurrentTimestamp();
        known.passed_to = drawn - known.waiting;
        known.next_count = end + std::max(kPauseUs, kPauseFactor * (end - begin));
    }
    if (known.waiting >= limit)
        throw pg::Failure{kBacklogLimit, "too many events wait in lane " + std::to_string(lane),
                          "The limit is " + std::to_string(limit) + ".",
                          "See once.status(): does the relay run?"};
}

} // namespace once
