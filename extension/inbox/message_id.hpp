// Ids as receivers give them, and as the key memory keeps them.
#pragma once

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

// The id type of a consumer, and the type of an argument.
enum class IdType { bigint, uuid, text, bytea };

[[nodiscard]] const char *name_of(IdType type);
[[nodiscard]] std::optional<IdType> id_type_of(std::string_view name);

// What is stored: a number, or 16 bytes (a uuid, or the digest of text and bytes).
struct StoredKey {
    int64 number = 0;
    pg_uuid_t bytes{};
    TimestampTz time = DT_NOBEGIN; // when the id was made, where it says so (uuid v7)

    friend bool operator==(const StoredKey &a, const StoredKey &b) { return (a <=> b) == 0; }
    friend std::strong_ordering operator<=>(const StoredKey &a, const StoredKey &b) {
        if (a.number != b.number)
            return a.number <=> b.number;
        return std::memcmp(a.bytes.data, b.bytes.data, UUID_LEN) <=> 0;
    }
};

// Converts an argument to the consumer's type: text is parsed as it, a uuid or number goes as its
// canonical text. Throws ON011 where it cannot, ON010 for an empty or oversized id.
[[nodiscard]] StoredKey stored_key(IdType consumer, IdType argument, Datum id);

} // namespace once
