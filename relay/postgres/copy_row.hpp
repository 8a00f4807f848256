// The bytes of COPY … TO STDOUT (FORMAT binary), without a connection: what a message of the server
// holds, and the fields of a row as views into it. What is not of this format throws SessionLost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace once::postgres {

// The row in one message, without its field count; nothing in a message that has none: the file's
// header alone, its trailer.
std::optional<std::string_view> row_of_message(std::string_view message);

// Big-endian signed number of 2, 4 or 8 bytes.
template <typename Number> Number big_endian(const char *bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(Number); ++i)
        value = value << 8 | static_cast<unsigned char>(bytes[i]);
    return static_cast<Number>(value);
}

// Takes the fields off the front of a row, in order.
class RowReader {
  public:
    explicit RowReader(std::string_view row) : rest_(row) {}
    // Nothing for NULL.
    std::optional<std::string_view> field() {
        const auto size = big_endian<std::int32_t>(take(4).data());
        if (size < 0)
            return std::nullopt;
        return take(static_cast<std::size_t>(size));
    }
    std::int64_t int64();
    char byte(); // of type "char"
    std::int32_t int32_or(std::int32_t when_null);
    // After the last field that is known: another one was meant for somebody else.
    void finish() const;

  private:
    std::string_view take(std::size_t size) {
        if (rest_.size() < size)
            cut_off();
        const std::string_view taken = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return taken;
    }
    [[noreturn]] static void cut_off();

    std::string_view rest_;
};

} // namespace once::postgres
