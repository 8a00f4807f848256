// The SQL that reads the difference of two snapshots. Pure text in, text out.
#pragma once

#include "extension/wire/snapshot.hpp"

#include <cstdint>
#include <string>

namespace once::outbox {

// Columns in the order the reader expects them.
inline constexpr const char *kEventColumns =
    "seq, id, topic, key, payload, headers, partition, time, form";

struct Difference {
    int lane = 0;
    wire::Snapshot before;
    wire::Snapshot now;
    std::string before_text;
    std::string now_text;

    // False: no transaction can be in it, whatever the tables hold.
    bool possible() const;

    // Everything, through the xid index, sorted; at most `rows` rows, and then any of them: who
    // gets that many has to read wide.
    std::string narrow(std::size_t rows) const;
    // In seq order through the primary keys: above `after`, up to and with `until`.
    std::string wide(std::int64_t after, std::int64_t until, std::size_t rows) const;
    // Lowest seq of transactions that were running at `before`: these may lie below everything that
    // was passed. NULL when there is none.
    std::string lowest_of_running() const;

  private:
    std::string finished_since() const; // xip of before that `now` sees, as xid8[]
    std::string table() const { return "once.event_" + std::to_string(lane); }
};

} // namespace once::outbox
