// Ids as the memory of ids stores them: 16 bytes, one space for every type and spelling.
//
// What denotes the same id is the same key, whatever type a driver made of it:
//   a uuid, in every spelling that PostgreSQL reads     its 16 bytes
//   a 64-bit number, also as its canonical decimal text tag 1, in the order of the numbers
//   any other text                                      tag 2, SHA-256 of its UTF-8 bytes
//   bytes                                               tag 3, SHA-256 of the bytes
// Tagged keys are uuids of version 8. A version-8 uuid of the application's is hashed as the text
// of its canonical spelling, so it cannot meet one of ours.
//
// The encoding is stored, so it never changes. test/unit/vectors/message_key.json has vectors for
// other languages. `Hash` maps a std::string_view to the 32 bytes of its SHA-256.
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace once::wire {

using MessageKey = std::array<unsigned char, 16>;

enum class KeyTag : unsigned char { number = 1, text = 2, bytes = 3 };

namespace key_detail {

inline int hex_digit(char character) {
    if (character >= '0' && character <= '9')
        return character - '0';
    if (character >= 'a' && character <= 'f')
        return character - 'a' + 10;
    if (character >= 'A' && character <= 'F')
        return character - 'A' + 10;
    return -1;
}

inline void set_tag(MessageKey &key, KeyTag tag) {
    key[6] = static_cast<unsigned char>(0x80 | static_cast<unsigned char>(tag));
    key[8] = static_cast<unsigned char>((key[8] & 0x3f) | 0x80); // RFC 9562: variant 10
}

template <typename Hash> MessageKey digest(std::string_view bytes, KeyTag tag, Hash &&sha256) {
    const auto hash = sha256(bytes);
    MessageKey key;
    for (std::size_t i = 0; i < key.size(); ++i)
        key[i] = static_cast<unsigned char>(hash[i]);
    set_tag(key, tag);
    return key;
}

} // namespace key_detail

// Version of a uuid, 0 where the variant is not that of RFC 9562.
inline int uuid_version(const MessageKey &uuid) {
    return uuid[8] >> 6 == 2 ? uuid[6] >> 4 : 0;
}

inline std::string uuid_text(const MessageKey &uuid) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    text.reserve(36);
    for (std::size_t i = 0; i < uuid.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text += '-';
        text += digits[uuid[i] >> 4];
        text += digits[uuid[i] & 0x0f];
    }
    return text;
}

// What PostgreSQL's uuid type reads: 32 hexadecimal digits of any case, a hyphen after any four of
// them, all of it in braces or not. Nothing before, behind or between.
inline std::optional<MessageKey> parse_uuid(std::string_view text) {
    if (!text.empty() && text.front() == '{') {
        if (text.back() != '}')
            return std::nullopt;
        text = text.substr(1, text.size() - 2);
    }
    MessageKey uuid;
    std::size_t at = 0;
    for (std::size_t i = 0; i < uuid.size(); ++i) {
        if (at + 2 > text.size())
            return std::nullopt;
        const int high = key_detail::hex_digit(text[at]), low = key_detail::hex_digit(text[at + 1]);
        if (high < 0 || low < 0)
            return std::nullopt;
        uuid[i] = static_cast<unsigned char>(high << 4 | low);
        at += 2;
        if (i % 2 == 1 && i + 1 < uuid.size() && at < text.size() && text[at] == '-')
            ++at;
    }
    return at == text.size() ? std::optional(uuid) : std::nullopt;
}

// The canonical decimal text of a 64-bit number: what the database prints. Not 007, +7, -0, 1.0.
inline std::optional<std::int64_t> parse_number(std::string_view text) {
    const std::string_view digits = text.substr(!text.empty() && text.front() == '-' ? 1 : 0);
    if (digits.empty() || digits.front() < '0' || digits.front() > '9' ||
        (digits.front() == '0' && text != "0"))
        return std::nullopt;
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return number;
}

// Keys compare as their numbers do.
inline MessageKey key_of_number(std::int64_t number) {
    const std::uint64_t biased = static_cast<std::uint64_t>(number) ^ (std::uint64_t{1} << 63);
    MessageKey key{};
    for (std::size_t i = 0; i < 6; ++i)
        key[i] = static_cast<unsigned char>(biased >> (56 - 8 * i));
    key[7] = static_cast<unsigned char>(biased >> 8);
    key[9] = static_cast<unsigned char>(biased);
    key_detail::set_tag(key, KeyTag::number);
    return key;
}

template <typename Hash> MessageKey key_of_uuid(const MessageKey &uuid, Hash &&sha256) {
    return uuid_version(uuid) == 8 ? key_detail::digest(uuid_text(uuid), KeyTag::text, sha256)
                                   : uuid;
}

// `utf8`: the text in UTF-8, whatever the database's encoding.
template <typename Hash> MessageKey key_of_text(std::string_view utf8, Hash &&sha256) {
    if (const auto number = parse_number(utf8))
        return key_of_number(*number);
    if (const auto uuid = parse_uuid(utf8))
        return key_of_uuid(*uuid, sha256);
    return key_detail::digest(utf8, KeyTag::text, sha256);
}

template <typename Hash> MessageKey key_of_bytes(std::string_view bytes, Hash &&sha256) {
    return key_detail::digest(bytes, KeyTag::bytes, sha256);
}

// Milliseconds since 1970 in a uuid of version 7; nothing for any other.
inline std::optional<std::int64_t> uuid7_milliseconds(const MessageKey &uuid) {
    if (uuid_version(uuid) != 7)
        return std::nullopt;
    std::int64_t milliseconds = 0;
    for (std::size_t i = 0; i < 6; ++i)
        milliseconds = milliseconds << 8 | uuid[i];
    return milliseconds;
}

// Whose ids they are: the first 8 bytes of SHA-256 over the kind ("consumer", "scope", "topic",
// "machine", "token"), a zero byte and the name in UTF-8, most significant first. Needs no row
// and no sequence, and survives a restore.
template <typename Hash>
std::int64_t owner_of(std::string_view kind, std::string_view utf8_name, Hash &&sha256) {
    std::string text;
    text.reserve(kind.size() + 1 + utf8_name.size());
    text.append(kind).push_back('\0');
    text.append(utf8_name);
    const auto hash = sha256(std::string_view(text));
    std::uint64_t owner = 0;
    for (std::size_t i = 0; i < 8; ++i)
        owner = owner << 8 | static_cast<unsigned char>(hash[i]);
    return static_cast<std::int64_t>(owner);
}

} // namespace once::wire
