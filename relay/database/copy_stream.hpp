// COPY (query) TO STDOUT (FORMAT binary) over libpq: row by row, each row a list of fields that are
// views into libpq's buffer until the next row is asked for.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace once::database {

class CopyStream {
  public:
    // Starts the statement; throws SessionLost (also for errors of the query).
    CopyStream(PGconn *connection, const std::string &query);
    // Leaves the connection ready for the next statement: cancels what is still coming.
    ~CopyStream();
    CopyStream(const CopyStream &) = delete;
    CopyStream &operator=(const CopyStream &) = delete;

    // The whole row as the server sent it, without its field count; nothing at the end. Throws
    // SessionLost.
    std::optional<std::string_view> next_row();

    // Stops early: the rest is cancelled and thrown away.
    void stop();

  private:
    void release() noexcept;
    void finish();

    PGconn *handle;
    char *buffer = nullptr;
    bool finished = false;
};

// Takes the fields off the front of a row, in order.
class RowReader {
  public:
    explicit RowReader(std::string_view row) : rest(row) {}
    // Nothing for NULL.
    std::optional<std::string_view> field();
    std::int64_t int64();
    std::int32_t int32_or(std::int32_t when_null);

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
