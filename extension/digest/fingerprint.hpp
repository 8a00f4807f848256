// Canonical form of content, hashed while it is read: the same JSON, whatever its key order, white
// space or number spelling, has the same digest. Nothing is expanded ({"a":1e131071} costs what its
// 15 bytes cost): time is linear in the stored size, memory is a fixed buffer plus what the nesting
// depth needs.
//
// The form: each item is a tag and its length or count (seven bits a byte) before its bytes, so
// that no two contents meet by concatenation. Strings are compared byte by byte: NFC and NFD are
// different requests. Numbers are PostgreSQL's numeric without trailing zeros: 1, 1.0 and 1e0 are
// one number. Strings are taken in UTF-8, and the keys of an object in the order that jsonb gives
// them there (length, then bytes): a dump that moves to another encoding keeps its digests.
#pragma once

#include "pg/boundary.hpp"
#include "digest/sha256.hpp"

#include <array>
#include <string>
#include <string_view>
#include <vector>

extern "C" {
#include <utils/jsonb.h>
}

namespace once {

using Digest = Sha256::Digest;

// A running SHA-256 over canonical items. May throw pg::Error (out of memory, interrupt).
class CanonicalHash {
  public:
    void bytes(std::string_view value);
    void json(Jsonb *value);
    // The value of a top-level field; a missing field counts as an item of its own. False: missing.
    // `name` is in the database's encoding.
    bool field(Jsonb *object, std::string_view name);

    // The digest of all items since the last finish(); the next item starts another content.
    [[nodiscard]] Digest finish() { return hash_.finish(); }

  private:
    Sha256 hash_;
};

// What is stored beside a claim: a version byte and the digest. A version we do not know never
// equals.
inline constexpr unsigned char kFingerprintVersion = 1;
[[nodiscard]] std::string fingerprint_of_bytes(std::string_view request);
// Appends to `fields` short digests (8 bytes) of the top-level fields of an object, so that a
// mismatch can name them: entries of [length, name in UTF-8, digest]. At most 64 fields and 4 kB
// are kept, of no object none.
[[nodiscard]] std::string fingerprint_of_json(Jsonb *request, std::string *fields);
// The names, in UTF-8, that stand in one of the two only or with another digest, sorted.
[[nodiscard]] std::vector<std::string> differing_fields(std::string_view stored,
                                                        std::string_view given);

} // namespace once
