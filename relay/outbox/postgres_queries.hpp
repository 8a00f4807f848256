// What the outbox asks of the extension and tells it: one function per statement, for whichever
// session it is handed. Each throws SqlError or SessionLost (postgres/session.hpp).
#pragma once

#include "relay/outbox/source.hpp"
#include "relay/postgres/session.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace once::outbox::queries {

using postgres::Session;

std::vector<int> lanes(Session &session);

// In the session that holds the lane or asks for it.
Claim lane_lock(Session &session, int lane);
Identity identity(Session &session, int lane);
Verdict history_check(Session &session, int lane, const Position &position);
// True: something may have committed since `before`; false: nothing within the time.
bool wait(Session &session, int lane, const std::string &before, std::chrono::milliseconds limit);

struct Report {
    std::string incarnation, cluster_id;
    Progressed progress;
    std::string info; // JSON
};
// Writes it and trims what its position has passed; how many child tables were emptied. Waits for
// nobody's lock longer than `lock_timeout`.
int report(Session &session, int lane, const Report &what, std::chrono::milliseconds lock_timeout);

void park(Session &session, int lane, const std::vector<std::int64_t> &seqs,
          const std::string &error, const std::string &policy, std::int64_t covered);
std::vector<std::int64_t> parked_seqs(Session &session, int lane, std::int64_t after);
std::vector<HeldKey> held_keys(Session &session, int lane, std::int64_t covered);

// The entries of the lowest stamp above the number; none: there is none.
std::optional<Redrive> stamped_above(Session &session, int lane, std::int64_t number);
// Stamps the next wanted entries with the number after the position's; how many.
int stamp_next(Session &session, int lane, const Position &position, ReadSize most);
void redrive_refused(Session &session, int lane, std::int64_t seq);
void redrive_unstamp(Session &session, int lane, const std::vector<Uuid> &ids);
std::vector<Uuid> stamped_ids(Session &session, int lane);

// These go through whole tables, when an operator has a decision to make: they may take an hour.
std::vector<Uuid> missing_ids(Session &session, int lane, const std::vector<Uuid> &ids);
std::vector<std::string> topics(Session &session, int lane);
std::optional<std::int64_t> oldest_ms(Session &session, int lane);
std::int64_t passed_over(Session &session, int lane, const std::string &snapshot);

// Upkeep: in any session.
bool redrive_waiting(Session &session, int lane, std::int64_t covered);
// Moves events that are due into their lanes; how many. Not 0: there may be more.
int deliver_due(Session &session);
// What is remembered for a time is forgotten in generations, and somebody has to turn them.
void sweep(Session &session);

} // namespace once::outbox::queries
