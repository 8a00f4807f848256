#include "relay/postgres/copy_row.hpp"

#include "relay/postgres/session_lost.hpp"

namespace once::postgres {
namespace {

constexpr std::string_view kSignature{"PGCOPY\n\377\r\n\0", 11};
constexpr std::size_t kFixedHeader = 11 + 4 + 4; // signature, flags, length of the extension

// The file header stands in front of the first row, in the same message or alone.
std::string_view without_file_header(std::string_view message) {
    if (message.substr(0, kSignature.size()) != kSignature)
        return message;
    if (message.size() < kFixedHeader)
        throw SessionLost("malformed header of a binary COPY");
    const auto extension = big_endian<std::uint32_t>(message.data() + 15);
    if (message.size() < kFixedHeader + extension)
        throw SessionLost("malformed header of a binary COPY");
    return message.substr(kFixedHeader + extension);
}

} // namespace

std::optional<std::string_view> row_of_message(std::string_view message) {
    const std::string_view row = without_file_header(message);
    if (row.empty())
        return std::nullopt;
    if (row.size() < 2)
        throw SessionLost("a message of a binary COPY is cut off");
    if (big_endian<std::int16_t>(row.data()) < 0)
        return std::nullopt; // trailer
    return row.substr(2);
}

void RowReader::cut_off() {
    throw SessionLost("a row of a binary COPY is cut off");
}

std::int64_t RowReader::int64() {
    const auto bytes = field();
    if (!bytes || bytes->size() != 8)
        throw SessionLost("a column is not the 64-bit number it should be");
    return big_endian<std::int64_t>(bytes->data());
}

char RowReader::byte() {
    const auto bytes = field();
    if (!bytes || bytes->size() != 1)
        throw SessionLost("a column is not the single byte it should be");
    return bytes->front();
}

std::int32_t RowReader::int32_or(std::int32_t when_null) {
    const auto bytes = field();
    if (!bytes)
        return when_null;
    if (bytes->size() != 4)
        throw SessionLost("a column is not the 32-bit number it should be");
    return big_endian<std::int32_t>(bytes->data());
}

void RowReader::finish() const {
    if (!rest_.empty())
        throw SessionLost("a row of a binary COPY has more than its columns");
}

} // namespace once::postgres
