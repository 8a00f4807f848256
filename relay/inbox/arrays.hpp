// Parameters of a statement in PostgreSQL's binary format: one array per column, so that a batch is
// one statement whatever its size, and bytes arrive as they are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace once::inbox {

// Object ids of built-in types; they never change.
enum class ElementType : std::uint32_t {
    bytea = 17,
    int8 = 20,
    int4 = 23,
    text = 25,
    timestamptz = 1184,
    uuid = 2950,
    jsonb = 3802,
};

std::uint32_t array_type_of(ElementType element);

class Array {
  public:
    explicit Array(ElementType element_type);
    void clear(); // keeps its memory

    void add_null();
    void add_bytes(std::string_view bytes); // text, bytea, uuid (16 bytes)
    void add_int(std::int64_t value);       // int4, int8
    void add_json(std::string_view json);   // jsonb
    void add_time(std::int64_t unix_ms);    // timestamptz
    void add(const std::optional<std::string_view> &bytes);
    void add(const std::optional<std::string> &bytes);

    std::uint32_t type() const { return array_type_of(element_); }
    std::int32_t size() const { return count_; }
    // The encoded array; valid until the next add.
    std::string_view encoded();

  private:
    ElementType element_;
    std::int32_t count_ = 0;
    bool has_null_ = false;
    std::string buffer_;
};

} // namespace once::inbox
