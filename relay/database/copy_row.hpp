// The bytes of COPY … TO STDOUT (FORMAT binary), without a connection: what a message of the server
// holds, and the fields of a row as views into it. What is not of this format throws SessionLost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace once::database {

// The row in one message, without its field count; nothing in a message that has none: the file's
// header alone, its trailer.
std::optional<std::string_view> row_of_message(std::string_view message);

// Takes the fields off the front of a row, in order.
class RowReader {
  public:
    explicit RowReader(std::string_view row) : rest(row) {}
    // Nothing for NULL.
    std::optional<std::string_view> field();
    std::int64_t int64();
    std::int32_t int32_or(std::int32_t when_null);
    // After the last field that is known: another one was meant for somebody else.
    void finish() const;

  private:
    std::string_view take(std::size_t size);
    std::string_view rest;
};

// Big-endian signed number of 2, 4 or 8 bytes.
template <typename Number> Number big_endian(const char *bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(Number); ++i)
        value = value << 8 | static_cast<unsigned char>(bytes[i]);
    return static_cast<Number>(value);
}

} // namespace once::database
