// COPY (query) TO STDOUT (FORMAT binary) over libpq: row by row, each row a list of fields
// (copy_row.hpp) that are views into libpq's buffer until the next row is asked for.
#pragma once

#include <libpq-fe.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace once::postgres {

class Session;

class CopyStream {
  public:
    // Starts the statement; throws SessionLost (also for errors of the query).
    CopyStream(Session &session, const std::string &query);
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

    Session &session_;
    PGconn *handle_;
    char *buffer_ = nullptr;
    bool finished_ = false;
};

} // namespace once::postgres
