#include "relay/database/copy_stream.hpp"

#include "relay/database/session.hpp"

#include <memory>

namespace once::database {
namespace {

constexpr std::string_view kSignature{"PGCOPY\n\377\r\n\0", 11};
constexpr std::size_t kFixedHeader = 11 + 4 + 4; // signature, flags, length of the extension

std::string text_of(PGconn *connection) {
    std::string text = PQerrorMessage(connection);
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    return text;
}

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

CopyStream::CopyStream(PGconn *connection, const std::string &query) : handle(connection) {
    const std::string statement = "COPY (" + query + ") TO STDOUT (FORMAT binary)";
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(handle, statement.c_str()),
                                                               PQclear);
    if (PQresultStatus(result.get()) != PGRES_COPY_OUT)
        throw SessionLost("could not read events: " + text_of(handle));
}

CopyStream::~CopyStream() {
    release();
    try {
        if (!finished)
            stop();
    } catch (const SessionLost &) {
        // The next statement on this connection finds out.
    }
}

void CopyStream::release() noexcept {
    if (buffer != nullptr)
        PQfreemem(buffer);
    buffer = nullptr;
}

std::optional<std::string_view> CopyStream::next_row() {
    while (!finished) {
        release();
        const int size = PQgetCopyData(handle, &buffer, 0);
        if (size < 0) {
            finish();
            break;
        }
        std::string_view row = without_file_header({buffer, static_cast<std::size_t>(size)});
        if (row.size() < 2)
            continue;
        if (big_endian<std::int16_t>(row.data()) < 0)
            continue; // trailer
        return row.substr(2);
    }
    return std::nullopt;
}

void CopyStream::finish() {
    finished = true;
    bool good = true;
    while (PGresult *result = PQgetResult(handle)) {
        good = good && PQresultStatus(result) == PGRES_COMMAND_OK;
        PQclear(result);
    }
    if (!good)
        throw SessionLost("could not read events: " + text_of(handle));
}

void CopyStream::stop() {
    if (finished)
        return;
    finished = true;
    if (PGcancel *cancel = PQgetCancel(handle)) {
        char reason[256];
        PQcancel(cancel, reason, sizeof reason); // failing, it only costs the reading of the rest
        PQfreeCancel(cancel);
    }
    release();
    while (PQgetCopyData(handle, &buffer, 0) >= 0)
        release();
    while (PGresult *result = PQgetResult(handle))
        PQclear(result); // an error here is the cancellation we asked for
    if (PQstatus(handle) != CONNECTION_OK)
        throw SessionLost("connection lost while reading events: " + text_of(handle));
}

std::string_view RowReader::take(std::size_t size) {
    if (rest.size() < size)
        throw SessionLost("a row of a binary COPY is cut off");
    const std::string_view taken = rest.substr(0, size);
    rest.remove_prefix(size);
    return taken;
}

std::optional<std::string_view> RowReader::field() {
    const auto size = big_endian<std::int32_t>(take(4).data());
    if (size < 0)
        return std::nullopt;
    return take(static_cast<std::size_t>(size));
}

std::int64_t RowReader::int64() {
    const auto bytes = field();
    if (!bytes || bytes->size() != 8)
        throw SessionLost("a column is not the 64-bit number it should be");
    return big_endian<std::int64_t>(bytes->data());
}

std::int32_t RowReader::int32_or(std::int32_t when_null) {
    const auto bytes = field();
    if (!bytes)
        return when_null;
    if (bytes->size() != 4)
        throw SessionLost("a column is not the 32-bit number it should be");
    return big_endian<std::int32_t>(bytes->data());
}

} // namespace once::database
