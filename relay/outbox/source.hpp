// Where events come from, as the pipeline sees it. One lane, one session that holds its lock.
#pragma once

#include "relay/outbox/batch_size.hpp"
#include "relay/outbox/event.hpp"
#include "relay/outbox/position.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace once::outbox {

// The session is gone, and the lane's lock with it: stop, and queue for the lane again.
struct SourceLost : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Claim {
    bool acquired = false;
    int holder = 0; // backend that has it
    std::string holder_state;
    double held_s = 0; // since that backend was last heard of
    bool evicted = false;
};

struct Identity {
    std::string incarnation;
    bool armed = false;
    std::optional<std::string> cluster_id;
    std::optional<std::string> mode;       // what an operator decided by once.rearm
    std::optional<std::string> decided_at; // snapshot of that moment
    std::int64_t redrive_floor = 0;
    std::uint32_t database_oid = 0;
    std::string system_identifier;
    std::uint32_t timeline = 0;
    bool in_recovery = false;
    std::optional<std::int64_t> offset_hint;
    std::vector<std::string> replaced; // incarnations before this one that nobody has fenced yet
    std::optional<Position> reported;  // what the holder reported last: committed at that time
    bool reported_empty = false;       // the holder's last report says that nothing waits
    double reported_age_s = 1e9;       // and how old it is
};

struct Verdict {
    bool same = true;
    std::string reason;
    std::string detail;
};

struct Cut {
    std::string snapshot;
    std::string lsn;
    std::uint32_t timeline = 0;
    std::int64_t seq = 0; // drawn before the snapshot was taken
};

struct Answer {
    std::optional<Batch> batch;
    bool looked = false; // the source answered; false: no answer within the wait
};

// A key whose events wait behind a parked one: all of them that come after it.
struct HeldKey {
    std::string topic;
    std::optional<std::string> key;
    std::int64_t since = 0; // number of that one
};

// One redrive: parked entries of one key under one number, in seq order. The batch has no
// snapshots; its lsn covers the stamps.
struct Redrive {
    std::int64_t number = 0;
    Batch batch;
};

// A report that nothing waits rests on a look at most so much older than itself.
inline constexpr std::chrono::seconds kReportedLook{1};

// What a commit changed, for the report that the session writes every few seconds.
struct Progressed {
    Position position;
    std::int64_t offset = 0; // of its record
    bool idle = false;       // and nothing is known to wait
};

class Source {
  public:
    virtual ~Source() = default;

    // Connects where necessary, tries the lane's lock once. Everything below needs the lock.
    virtual Claim claim() = 0;
    virtual Identity identity() = 0; // also without the lock
    virtual Verdict check_history(const Position &position) = 0;
    virtual Cut cut() = 0;
    // Returns if the session, and so the lock, is alive; throws SourceLost.
    virtual void confirm() = 0;

    // Reading goes on behind this position; what was read ahead is dropped.
    virtual void resume(const Position &position) = 0;
    // The next piece, of at most this size; waits at most so long for one. An answer without a
    // batch means that nothing waits.
    virtual Answer next(std::chrono::milliseconds wait, ReadSize most) = 0;

    virtual void progressed(const Progressed &what) = 0;
    // Writes the report at once and durably.
    virtual void report(const Progressed &what, const std::string &cluster_id) = 0;

    // Copies these events into once.dead_letter, commits; the lsn that covers the commit.
    // `covered`: redrive number of the position.
    virtual std::string park(const std::vector<std::int64_t> &seqs, const std::string &error,
                             const std::string &policy, std::int64_t covered) = 0;
    virtual std::vector<std::int64_t> parked_seqs(std::int64_t after) = 0;
    virtual std::vector<HeldKey> held_keys(std::int64_t covered_redrive_no) = 0;

    // Something may be there to redrive; looked at now and then, costs nothing to ask.
    virtual bool redrive_waiting() = 0;
    // The entries of the lowest stamp above the position's number; where there are none, the next
    // wanted ones get one. Committed when it returns.
    virtual std::optional<Redrive> next_redrive(const Position &position, ReadSize most) = 0;
    // Refused again: this entry and those behind it of its key lose mark and stamp. Committed.
    virtual void redrive_refused(std::int64_t seq) = 0;
    // These lose the stamp but stay wanted. Committed.
    virtual void redrive_unstamp(const std::vector<Uuid> &ids) = 0;
    virtual std::vector<Uuid> stamped_ids() = 0;

    // Which of these ids the database does not know.
    virtual std::vector<Uuid> missing_ids(const std::vector<Uuid> &ids) = 0;
    // How many events are visible in a snapshot.
    virtual std::int64_t passed_over(const std::string &snapshot) = 0;
    virtual std::vector<std::string> topics() = 0; // that events of this lane name
    virtual std::optional<std::int64_t>
    oldest_ms() = 0; // publish time of the oldest event there is

    virtual void close() noexcept = 0;
};

} // namespace once::outbox
