// 128 bits of SHA-256 over a list of strings, each with its length before it: ("a","b") never meets
// ("ab",""). For keys that are stored by digest. Nobody can make two lists meet, so a foreign key
// cannot hide ours.
#pragma once

#include "digest/sha256.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace once {

using Digest128 = std::array<unsigned char, 16>;

inline Digest128 first_half(const Sha256::Digest &digest) {
    Digest128 half;
    std::copy_n(digest.begin(), half.size(), half.begin());
    return half;
}

inline Digest128 digest128_of_bytes(std::string_view bytes) {
    Sha256 hash;
    hash.update(bytes.data(), bytes.size());
    return first_half(hash.finish());
}

inline Digest128 digest128(std::initializer_list<std::string_view> parts) {
    Sha256 hash;
    for (std::string_view part : parts) {
        unsigned char length[8];
        for (size_t i = 0; i < sizeof length; ++i)
            length[i] =
                static_cast<unsigned char>(static_cast<uint64_t>(part.size()) >> (56 - 8 * i));
        hash.update(length, sizeof length);
        hash.update(part.data(), part.size());
    }
    return first_half(hash.finish());
}

inline uint32_t load32(const Digest128 &digest, size_t offset) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i)
        value = value << 8 | digest[offset + i];
    return value;
}

} // namespace once
