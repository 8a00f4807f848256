#include "relay/postgres/copy_stream.hpp"

#include "relay/postgres/connect.hpp"
#include "relay/postgres/copy_row.hpp"
#include "relay/postgres/session.hpp"
#include "relay/process/one_line.hpp"

#include <memory>

namespace once::postgres {
namespace {

using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

std::string text_of(PGconn *connection, const PGresult *result) {
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (text == nullptr)
        return one_line(PQerrorMessage(connection));
    return std::string(text) + (state == nullptr ? "" : " (SQLSTATE " + std::string(state) + ")");
}

} // namespace

CopyStream::CopyStream(Session &session, const std::string &query)
    : session_(session), handle_(session.raw()) {
    const std::string statement = "COPY (" + query + ") TO STDOUT (FORMAT binary)";
    const Result result =
        session.watched([&] { return Result(PQexec(handle_, statement.c_str()), PQclear); });
    if (PQresultStatus(result.get()) != PGRES_COPY_OUT)
        throw SessionLost("could not read events: " + text_of(handle_, result.get()));
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
        int size = PQgetCopyData(handle_, &buffer_, 1);
        if (size == 0) // only who has to wait pays for the watch
            size = session_.watched([&] { return PQgetCopyData(handle_, &buffer_, 0); });
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
    std::string trouble;
    session_.watched([&] {
        while (const Result result{PQgetResult(handle_), PQclear})
            if (PQresultStatus(result.get()) != PGRES_COMMAND_OK)
                trouble = text_of(handle_, result.get());
    });
    if (!trouble.empty())
        throw SessionLost("could not read events: " + trouble);
}

void CopyStream::stop() {
    if (finished_)
        return;
    finished_ = true;
    cancel(handle_); // failing, it only costs the reading of the rest
    release();
    session_.watched([&] {
        while (PQgetCopyData(handle_, &buffer_, 0) >= 0)
            release();
        while (const Result result{PQgetResult(handle_), PQclear}) {
        } // an error here is the cancellation we asked for
    });
    if (PQstatus(handle_) != CONNECTION_OK)
        throw SessionLost("connection lost while reading events: " +
                          one_line(PQerrorMessage(handle_)));
}

} // namespace once::postgres
