// Ids as receivers give them: what the memory keeps of them, and when they were made.
#pragma once

#include "wire/message_key.hpp"

#include "pg/prelude.hpp"

extern "C" {
#include <datatype/timestamp.h>
#include <utils/uuid.h>
}

#include <compare>
#include <cstring>
#include <optional>
#include <string_view>

namespace once {

// The type of an argument.
enum class IdType { bigint, uuid, text, bytea };

struct MessageId {
    pg_uuid_t key{}; // wire/message_key.hpp
    // When it was made, where it came as a uuid of version 7.
    std::optional<TimestampTz> made_at{};

    friend bool operator==(const MessageId &a, const MessageId &b) { return (a <=> b) == 0; }
    friend std::strong_ordering operator<=>(const MessageId &a, const MessageId &b) {
        return std::memcmp(a.key.data, b.key.data, UUID_LEN) <=> 0;
    }
};

// Throws ON010 for an empty or oversized id.
[[nodiscard]] MessageId message_id(IdType type, Datum id);

// Whose ids they are (wire/message_key.hpp); `name` in the database's encoding.
[[nodiscard]] int64 owner_of(const char *kind, std::string_view name);

} // namespace once
