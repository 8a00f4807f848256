// The key memory of a consumer as one snapshot shows it: which generation takes keys, which are
// looked into.
#pragma once

#include "storage/keyed_table.hpp"
#include "inbox/message_id.hpp"

#include "pg/prelude.hpp"

extern "C" {
#include <utils/snapshot.h>
}

namespace once {

// As sql/schema/inbox/generation.sql has it: at most this many tables a consumer.
constexpr int kSlots = 4;

struct ReadOnlyGeneration {
    Oid table = InvalidOid;
    TimestampTz closed_at = 0;
    TimestampTz expires_at =
        DT_NOEND; // by time; what has been pushed out by count is not in here at all
};

// Everything that a decision needs. Its content is a function of (consumer, version): see
// memory_of.
struct Memory {
    int consumer = 0;
    pg_uuid_t version{};
    IdType type = IdType::text;
    bool reject_older = false;
    TimestampTz horizon = DT_NOBEGIN; // ids made up to here may have been forgotten
    Oid open = InvalidOid;
    Oid closing = InvalidOid; // stays so when no handover is under way
    int read_only_count = 0;
    ReadOnlyGeneration read_only[kSlots]; // newest first
};

// The memory of `consumer` under the active snapshot. A consumer that the snapshot does not show is
// looked for under a fresh one, which stays active (View ends it); one that is not there at all is
// declared with the type of the argument: a row that others wait for until this transaction ends.
class View {
  public:
    View(std::string_view consumer, IdType argument);
    ~View();
    View(const View &) = delete;
    View &operator=(const View &) = delete;

    [[nodiscard]] const Memory &memory() const { return *memory_; }
    [[nodiscard]] Snapshot snapshot() const;

  private:
    const Memory *memory_ = nullptr;
    bool pushed_ = false;
};

} // namespace once
