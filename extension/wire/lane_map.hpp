// Where an event goes: key → slot → lane, and sequence number → child table. Events of one key must
// always meet in one slot, on every server version and machine, so the hash is our own: FNV-1a (64
// bit), mixed once so that its low bits are good for a modulus. Which lane a slot belongs to stands
// in the table once.slot: a promise that a later version can change slot by slot.
#pragma once

#include <cstdint>
#include <string_view>

namespace once::wire {

inline constexpr int kSlots = 256;

[[nodiscard]] inline uint64_t stable_hash(std::string_view bytes) {
    uint64_t hash = 14695981039346656037ULL;
    for (unsigned char byte : bytes)
        hash = (hash ^ byte) * 1099511628211ULL;
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdULL;
    return hash ^ hash >> 33;
}

// `bytes`: the key as Kafka gets it; the topic's name for events without a key.
[[nodiscard]] inline int slot_of(std::string_view bytes) {
    return static_cast<int>(stable_hash(bytes) % kSlots);
}

// The child table an event lies in, by its sequence number alone.
[[nodiscard]] inline int child_of(int64_t seq, int64_t generation_rows, int children) {
    return static_cast<int>(seq / generation_rows % children);
}

} // namespace once::wire
