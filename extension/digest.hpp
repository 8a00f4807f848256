// 128 bits of SHA-256 over a list of strings, each with its length before it: ("a","b") never meets
// ("ab",""). For keys that are stored by digest. Nobody can make two lists meet, so a foreign key
// cannot hide ours.
#pragma once

#include "pg/boundary.hpp"

extern "C" {
#include <common/cryptohash.h>
#include <common/sha2.h>
}

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace once {

using Digest128 = std::array<unsigned char, 16>;

inline std::string length_prefixed(std::initializer_list<std::string_view> parts) {
    std::string text;
    for (std::string_view part : parts) {
        for (int shift = 56; shift >= 0; shift -= 8)
            text.push_back(static_cast<char>(static_cast<uint64_t>(part.size()) >> shift));
        text.append(part);
    }
    return text;
}

inline Digest128 digest128_of_bytes(std::string_view bytes) {
    unsigned char hash[PG_SHA256_DIGEST_LENGTH];
    pg::call([&] {
        pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);
        if (!context || pg_cryptohash_init(context) < 0 ||
            pg_cryptohash_update(context, reinterpret_cast<const uint8 *>(bytes.data()),
                                 bytes.size()) < 0 ||
            pg_cryptohash_final(context, hash, sizeof hash) < 0)
            elog(ERROR, "could not compute SHA-256 hash");
        pg_cryptohash_free(context);
    });
    Digest128 first;
    std::copy_n(hash, first.size(), first.begin());
    return first;
}

inline Digest128 digest128(std::initializer_list<std::string_view> parts) {
    return digest128_of_bytes(length_prefixed(parts));
}

inline uint32_t load32(const Digest128 &digest, size_t offset) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; i++)
        value = value << 8 | digest[offset + i];
    return value;
}

} // namespace once
