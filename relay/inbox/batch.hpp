// Messages with what the database is told about them: who they are, and their columns encoded, so
// that a whole batch is ready to be sent when its turn comes. A part of a batch, or what is left of
// it after duplicates fell out, is encoded again.
#pragma once

#include "relay/inbox/arrays.hpp"
#include "relay/inbox/message.hpp"
#include "relay/inbox/topic_partition.hpp"
#include "relay/inbox/session.hpp"

#include <span>
#include <vector>

namespace once::inbox {

struct Entry {
    Message message;
    Identity identity;
};

// The columns of once.message, one array each, in the order of the type.
class MessageColumns {
  public:
    void add(const Entry &entry);
    std::vector<Parameter> parameters();
    void clear();

  private:
    Array topics_{ElementType::text}, partitions_{ElementType::int4}, offsets_{ElementType::int8},
        keys_{ElementType::text}, payloads_{ElementType::bytea}, headers_{ElementType::jsonb},
        ids_{ElementType::text}, sources_{ElementType::text}, positions_{ElementType::int8},
        times_{ElementType::timestamptz};
};

// The ids that senders gave, for accept_many: as uuids while all of them are.
class IdColumns {
  public:
    // `number`: of the entry, to find it again by the ordinal that comes back.
    void add(const Entry &entry, std::size_t number);
    bool empty() const { return numbers_.empty(); }
    bool only_uuids() const { return uuids_only_; }
    Array &ids() { return uuids_only_ ? uuids_ : texts_; }
    Array &sent() { return times_; }
    std::size_t number_of(std::size_t ordinal) const { return numbers_[ordinal - 1]; }
    void clear();

  private:
    Array uuids_{ElementType::uuid}, texts_{ElementType::text}, times_{ElementType::timestamptz};
    std::vector<std::size_t> numbers_;
    bool uuids_only_ = true;
};

class Batch {
  public:
    const Entry &add(Message message, const IdentityRule &rule, std::string_view name);
    // Messages of a place that is not ours any more, or will be read again; none before `first`
    // stay.
    void drop(const TopicPartitionView &place, std::size_t first);
    void clear();

    std::size_t size() const { return all_.size(); }
    std::size_t bytes() const { return sum_; }
    std::span<const Entry> entries() const { return all_; }

    MessageColumns columns; // of all entries
    IdColumns ids;

  private:
    void encode(const Entry &entry, std::size_t number);

    std::vector<Entry> all_;
    std::size_t sum_ = 0;
};

// What is tried next. `whole`: the batch that has exactly these entries, encoded; null for a part
// of one.
struct Part {
    std::span<const Entry> entries;
    Batch *whole = nullptr;
};

} // namespace once::inbox
