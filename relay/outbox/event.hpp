// An event as the relay carries it, and the memory it stands in.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace once::outbox {

using Uuid = std::array<unsigned char, 16>;
std::string to_text(const Uuid &id);
std::optional<Uuid> uuid_from_text(std::string_view text);
// Nothing for what are no hexadecimal digits.
std::optional<std::string> bytes_from_hex(std::string_view digits);

// Rows of one read, one after the other in chunks that never move: events are views into it, and so
// are the payloads librdkafka is sending. Shared by a batch and the producer that sends it.
class Arena {
  public:
    std::string_view put(const char *bytes, std::size_t size) {
        if (size > left_)
            grow(size);
        char *here = cursor_;
        std::memcpy(here, bytes, size);
        cursor_ += size;
        left_ -= size;
        used_ += size;
        return {here, size};
    }
    std::size_t size() const noexcept { return used_; }

  private:
    void grow(std::size_t size) {
        const std::size_t room = size > kChunk ? size : kChunk;
        chunks_.emplace_back(new char[room]);
        cursor_ = chunks_.back().get();
        left_ = room;
    }

    static constexpr std::size_t kChunk = 256 * 1024;
    std::vector<std::unique_ptr<char[]>> chunks_;
    char *cursor_ = nullptr;
    std::size_t left_ = 0;
    std::size_t used_ = 0;
};

// Null and empty differ for key and payload: a null payload is a tombstone.
struct Event {
    std::int64_t seq = 0;
    std::int64_t time_ms = 0; // since 1970
    std::string_view topic;
    std::optional<std::string_view> key;
    std::optional<std::string_view> payload;
    std::string_view headers;    // as in extension/wire/column_headers.hpp
    std::int32_t partition = -1; // -1: by the key
    char form = 'b';             // what was published: j jsonb, t text, b bytes
    Uuid id{};

    std::size_t size() const noexcept {
        return (key ? key->size() : 0) + (payload ? payload->size() : 0) + headers.size();
    }
};

// A row of kEventColumns, whose bytes must outlive the event. Throws postgres::SessionLost for any
// other bytes.
Event decode_event(std::string_view row);

// A piece of the difference of two snapshots, in seq order.
struct Batch {
    std::shared_ptr<Arena> arena;
    std::vector<Event> events;
    std::size_t bytes = 0;
    std::string s_prev;
    std::string s_now;
    std::string lsn;
    std::uint32_t timeline = 0;
    // How far into the difference this piece reaches; none: it is finished with this piece.
    std::optional<std::int64_t> slice_seq;
    bool more = false; // more is known to wait behind it
};

} // namespace once::outbox
