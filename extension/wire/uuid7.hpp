// UUID version 7 (RFC 9562) from a time and random bytes; the 12 bits after the version are the
// part of the millisecond, so that ids of one session rise with the clock.
#pragma once

#include <array>
#include <cstdint>

namespace once::wire {

using Uuid = std::array<unsigned char, 16>;

// `unix_us`: microseconds since 1970. `random`: 8 bytes, of which two bits give way to the variant.
[[nodiscard]] inline Uuid uuid7(int64_t unix_us, const unsigned char *random) {
    const auto ms = static_cast<uint64_t>(unix_us / 1000);
    const auto fraction = static_cast<uint64_t>(unix_us % 1000) * 4096 / 1000;
    Uuid id{};
    for (int i = 0; i < 6; ++i)
        id[i] = static_cast<unsigned char>(ms >> (40 - 8 * i));
    id[6] = static_cast<unsigned char>(0x70 | fraction >> 8);
    id[7] = static_cast<unsigned char>(fraction);
    for (int i = 0; i < 8; ++i)
        id[8 + i] = random[i];
    id[8] = static_cast<unsigned char>((id[8] & 0x3f) | 0x80);
    return id;
}

} // namespace once::wire
