#include "relay/inbox/arrays.hpp"

namespace once::inbox {
namespace {

// array_recv: dimensions, has-null flag, element type, then per dimension its size and lower bound.
constexpr std::size_t kHeader = 5 * 4;
// From 1970 to 2000, where PostgreSQL's clock starts.
constexpr std::int64_t kEpochDifferenceMs = 946684800000;

template <typename Number> void put(std::string &to, Number value) {
    char bytes[sizeof value];
    for (std::size_t i = 0; i < sizeof value; ++i)
        bytes[i] =
            static_cast<char>(static_cast<std::uint64_t>(value) >> 8 * (sizeof value - 1 - i));
    to.append(bytes, sizeof value);
}

} // namespace

std::uint32_t array_type_of(ElementType element) {
    switch (element) {
    case ElementType::bytea:
        return 1001;
    case ElementType::int8:
        return 1016;
    case ElementType::int4:
        return 1007;
    case ElementType::text:
        return 1009;
    case ElementType::timestamptz:
        return 1185;
    case ElementType::uuid:
        return 2951;
    case ElementType::jsonb:
        return 3807;
    }
    return 0;
}

Array::Array(ElementType element_type) : element_(element_type), buffer_(kHeader, '\0') {}

void Array::clear() {
    buffer_.resize(kHeader);
    count_ = 0;
    has_null_ = false;
}

void Array::add_null() {
    put<std::int32_t>(buffer_, -1);
    has_null_ = true;
    ++count_;
}

void Array::add_bytes(std::string_view bytes) {
    put(buffer_, static_cast<std::int32_t>(bytes.size()));
    buffer_ += bytes;
    ++count_;
}

void Array::add_int(std::int64_t value) {
    if (element_ == ElementType::int4) {
        put<std::int32_t>(buffer_, 4);
        put(buffer_, static_cast<std::int32_t>(value));
    } else {
        put<std::int32_t>(buffer_, 8);
        put(buffer_, value);
    }
    ++count_;
}

void Array::add_json(std::string_view json) {
    put(buffer_, static_cast<std::int32_t>(json.size() + 1));
    buffer_.push_back(1); // version of jsonb's binary format
    buffer_ += json;
    ++count_;
}

void Array::add_time(std::int64_t unix_ms) {
    put<std::int32_t>(buffer_, 8);
    put(buffer_, (unix_ms - kEpochDifferenceMs) * 1000);
    ++count_;
}

void Array::add(const std::optional<std::string_view> &bytes) {
    bytes ? add_bytes(*bytes) : add_null();
}

void Array::add(const std::optional<std::string> &bytes) {
    bytes ? add_bytes(*bytes) : add_null();
}

std::string_view Array::encoded() {
    std::string header;
    put<std::int32_t>(header, count_ == 0 ? 0 : 1);
    put<std::int32_t>(header, has_null_ ? 1 : 0);
    put(header, static_cast<std::uint32_t>(element_));
    put(header, count_);
    put<std::int32_t>(header, 1);
    buffer_.replace(0, kHeader, header);
    // An empty array has no dimension, so neither size nor bound.
    return count_ == 0 ? std::string_view(buffer_).substr(0, 12) : std::string_view(buffer_);
}

} // namespace once::inbox
