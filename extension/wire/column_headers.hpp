// Headers of an event as they stand in the column `headers`: one after the other, each
//
//     name length   2 bytes, big endian        name    UTF-8, 1 to 255 bytes
//     value length  4 bytes, big endian        value   any bytes; length 2^32-1: null, no bytes
//
// No headers at all is NULL, not an empty value. The order is the one they were written in.
#pragma once

#include "extension/wire/message_headers.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace once::wire {

// Views into the encoded bytes (or into what the caller encodes).
using HeaderValue = std::optional<std::string_view>;
using Header = std::pair<std::string_view, HeaderValue>;

inline constexpr size_t kMaxHeaders = 64; // a request with hundreds of them costs every reader
inline constexpr size_t kMaxHeaderNameBytes = 255; // as all names

enum class HeaderFault { none, count, empty_name, long_name, reserved_name, control_character };

// Whether a header of this name may be published by an application.
[[nodiscard]] inline HeaderFault check_header_name(std::string_view name) {
    if (name.empty())
        return HeaderFault::empty_name;
    if (name.size() > kMaxHeaderNameBytes)
        return HeaderFault::long_name;
    if (is_once_header(name))
        return HeaderFault::reserved_name;
    for (unsigned char byte : name)
        if (byte < 0x20 || byte == 0x7f)
            return HeaderFault::control_character;
    return HeaderFault::none;
}

inline constexpr uint32_t kNullValue = 0xffffffff; // as a length

[[nodiscard]] inline size_t encoded_size(std::string_view name, HeaderValue value) {
    return 2 + name.size() + 4 + (value ? value->size() : 0);
}

inline char *encode_header(char *at, std::string_view name, HeaderValue value) {
    const auto put = [&at](uint64_t number, int bytes) {
        for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
            *at++ = static_cast<char>(number >> shift);
    };
    put(name.size(), 2);
    at += name.copy(at, name.size());
    put(value ? value->size() : kNullValue, 4);
    return value ? at + value->copy(at, value->size()) : at;
}

[[nodiscard]] inline std::string encode_headers(const std::vector<Header> &headers) {
    size_t size = 0;
    for (const auto &[name, value] : headers)
        size += encoded_size(name, value);
    std::string bytes(size, '\0');
    char *at = bytes.data();
    for (const auto &[name, value] : headers)
        at = encode_header(at, name, value);
    return bytes;
}

// Takes the first header off `rest`; false (rest untouched) when these are no headers.
[[nodiscard]] inline bool next_header(std::string_view &rest, Header &header) {
    const auto number = [](std::string_view bytes) {
        uint64_t value = 0;
        for (unsigned char byte : bytes)
            value = value << 8 | byte;
        return value;
    };
    std::string_view left = rest;
    HeaderValue part[2];
    const size_t width[2] = {2, 4};
    for (int i = 0; i < 2; ++i) {
        if (left.size() < width[i])
            return false;
        const uint64_t length = number(left.substr(0, width[i]));
        left.remove_prefix(width[i]);
        if (i == 1 && length == kNullValue)
            continue;
        if (left.size() < length)
            return false;
        part[i] = left.substr(0, length);
        left.remove_prefix(length);
    }
    header = {*part[0], part[1]};
    rest = left;
    return true;
}

// Views into `bytes`; nothing when the bytes are cut off or otherwise no headers.
[[nodiscard]] inline std::optional<std::vector<Header>> decode_headers(std::string_view bytes) {
    std::vector<Header> headers;
    Header header;
    while (!bytes.empty()) {
        if (!next_header(bytes, header))
            return std::nullopt;
        headers.push_back(header);
    }
    return headers;
}

} // namespace once::wire
