#include "relay/postgres/copy_stream.hpp"

#include "relay/postgres/copy_row.hpp"
#include "relay/postgres/session_lost.hpp"

#include <memory>

namespace once::postgres {
namespace {

std::string text_of(PGconn *connection) {
    std::string text = PQerrorMessage(connection);
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    return text;
}

} // namespace

CopyStream::CopyStream(PGconn *connection, const std::string &query) : handle_(connection) {
    const std::string statement = "COPY (" + query + ") TO STDOUT (FORMAT binary)";
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(handle_, statement.c_str()),
                                                               PQclear);
    if (PQresultStatus(result.get()) != PGRES_COPY_OUT)
        throw SessionLost("could not read events: " + text_of(handle_));
}

CopyStream::~CopyStream() {
    release();
    try {
        if (!finished_)
            stop();
    } catch (const SessionLost &) {
        // The next statement on this connection finds out.
    }
}

void CopyStream::release() noexcept {
    if (buffer_ != nullptr)
        PQfreemem(buffer_);
    buffer_ = nullptr;
}

std::optional<std::string_view> CopyStream::next_row() {
    while (!finished_) {
        release();
        const int size = PQgetCopyData(handle_, &buffer_, 0);
        if (size < 0) {
            finish();
            break;
        }
        if (const auto row = row_of_message({buffer_, static_cast<std::size_t>(size)}))
            return row;
    }
    return std::nullopt;
}

void CopyStream::finish() {
    finished_ = true;
    bool good = true;
    while (PGresult *result = PQgetResult(handle_)) {
        good = good && PQresultStatus(result) == PGRES_COMMAND_OK;
        PQclear(result);
    }
    if (!good)
        throw SessionLost("could not read events: " + text_of(handle_));
}

void CopyStream::stop() {
    if (finished_)
        return;
    finished_ = true;
    if (PGcancel *cancel = PQgetCancel(handle_)) {
        char reason[256];
        PQcancel(cancel, reason, sizeof reason); // failing, it only costs the reading of the rest
        PQfreeCancel(cancel);
    }
    release();
    while (PQgetCopyData(handle_, &buffer_, 0) >= 0)
        release();
    while (PGresult *result = PQgetResult(handle_))
        PQclear(result); // an error here is the cancellation we asked for
    if (PQstatus(handle_) != CONNECTION_OK)
        throw SessionLost("connection lost while reading events: " + text_of(handle_));
}

} // namespace once::postgres
