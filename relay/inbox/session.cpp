#include "relay/inbox/session.hpp"

#include "relay/process/crash_point.hpp"
#include "relay/postgres/pooling.hpp"
#include "relay/postgres/session_lost.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/inbox/arrays.hpp"
#include "relay/process/metrics.hpp"
#include "relay/options.hpp"
#include "relay/process/stop_signal.hpp"

#include <algorithm>
#include <cerrno>
#include <poll.h>

namespace once::inbox {
namespace {

constexpr int kBeatMs = 1000;
// So long a batch may go on after SIGTERM; then it is rolled back and comes again after the
// restart.
constexpr std::int64_t kStopGraceMs = 5000;

// libpq explains itself over several lines; the first says what happened.
std::string one_line(const std::string &text) {
    return text.substr(0, text.find('\n'));
}

PGconn *connect(const DatabaseOptions &options) {
    const std::string timeout_s = std::to_string(options.connect_timeout_s);
    const std::string timeout_ms = std::to_string(options.session_timeout_ms);
    // What stands behind the connection string wins over it.
    const char *names[] = {"dbname",     "connect_timeout",  "client_encoding",
                           "keepalives", "tcp_user_timeout", "fallback_application_name",
                           nullptr};
    const char *values[] = {options.conninfo.c_str(), timeout_s.c_str(),  "UTF8", "1",
                            timeout_ms.c_str(),       "once-relay inbox", nullptr};
    return PQconnectdbParams(names, values, 1);
}

// Before the settings, which would stay behind in sessions of others; ours, and the statements that
// we prepared, would be gone.
void refuse_transaction_pooler(PGconn *session, const DatabaseOptions &options) {
    try {
        if (postgres::pooling_of(session, [&] { return connect(options); }) ==
            postgres::Pooling::transaction)
            throw Refusal(ExitCode::database, postgres::kPooled, {}, postgres::kPooledHint);
    } catch (const postgres::SessionLost &lost) {
        throw ConnectionLost(lost.what());
    }
}

// Each with what goes wrong without it.
std::string session_settings(const DatabaseOptions &options) {
    const std::string timeout = std::to_string(options.session_timeout_ms);
    return
        // A relay that hangs in a batch keeps the rows of its offsets locked for its successor.
        "SET idle_in_transaction_session_timeout = " + timeout +
        "; SET tcp_user_timeout = " + timeout +
        // The backend of a relay that was killed in the middle of a handler does the same.
        "; SET client_connection_check_interval = 1000"
        // An offset that is acknowledged to Kafka must not be lost with the server.
        "; SET synchronous_commit = on"
        // A refused message is told from a conflict by what READ COMMITTED does.
        "; SET default_transaction_isolation = 'read committed'"
        "; SET default_transaction_read_only = off; SET client_min_messages = warning";
}

} // namespace

Parameter::Parameter(Array &array) : bytes(array.encoded()), binary(true), type(array.type()) {}

Session::Session(const DatabaseOptions &options, const StopSignal &stop_signal,
                 std::function<int()> beat)
    : connection_(connect(options), &PQfinish), stop_(stop_signal), on_beat_(std::move(beat)) {
    if (PQstatus(connection_.get()) != CONNECTION_OK)
        lost();
    refuse_transaction_pooler(connection_.get(), options);
    PQsetNoticeProcessor(
        connection_.get(), [](void *, const char *) {}, nullptr);
    PQsetnonblocking(connection_.get(), 1);
    if (PQsendQuery(connection_.get(), session_settings(options).c_str()) == 0)
        lost();
    finish();
}

Rows Session::execute(const std::string &statement, const std::vector<Parameter> &parameters) {
    return execute_prepared({}, statement, parameters);
}

Rows Session::execute_prepared(const std::string &name, const std::string &statement,
                               const std::vector<Parameter> &parameters) {
    std::vector<const char *> values;
    std::vector<int> lengths, formats;
    std::vector<Oid> types;
    for (const Parameter &parameter : parameters) {
        values.push_back(parameter.bytes.data());
        lengths.push_back(static_cast<int>(parameter.bytes.size()));
        formats.push_back(parameter.binary ? 1 : 0);
        types.push_back(parameter.type);
    }
    const int count = static_cast<int>(parameters.size());
    if (name.empty()) {
        if (PQsendQueryParams(connection_.get(), statement.c_str(), count, types.data(),
                              values.data(), lengths.data(), formats.data(), 0) == 0)
            lost();
        return finish();
    }
    if (std::find(prepared_.begin(), prepared_.end(), name) == prepared_.end()) {
        if (PQsendPrepare(connection_.get(), name.c_str(), statement.c_str(), count,
                          types.data()) == 0)
            lost();
        finish();
        prepared_.push_back(name);
    }
    if (PQsendQueryPrepared(connection_.get(), name.c_str(), count, values.data(), lengths.data(),
                            formats.data(), 0) == 0)
        lost();
    return finish();
}

// The last result of the statement; an error in any of them is thrown after all are read.
Rows Session::finish() {
    Rows last(nullptr);
    std::string state, text;
    while (PGresult *result = wait_for_result()) {
        const ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_FATAL_ERROR && state.empty()) {
            const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
            const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
            state = code != nullptr ? code : "08006";
            text = message != nullptr ? message : one_line(PQresultErrorMessage(result));
        }
        last = Rows(result);
    }
    if (PQstatus(connection_.get()) != CONNECTION_OK)
        throw ConnectionLost(text.empty() ? one_line(PQerrorMessage(connection_.get())) : text);
    if (!state.empty())
        throw SqlError(state, text);
    return last;
}

PGresult *Session::wait_for_result() {
    std::int64_t cancel_at = 0;
    for (;;) {
        const int unsent = PQflush(connection_.get());
        if (unsent < 0 || PQconsumeInput(connection_.get()) == 0)
            lost();
        if (PQisBusy(connection_.get()) == 0)
            return PQgetResult(connection_.get());
        const int pause_ms = on_beat_ ? std::min(on_beat_(), kBeatMs) : kBeatMs;
        if (stop_.requested() && cancel_at == 0)
            cancel_at = now_ms() + kStopGraceMs;
        if (cancel_at != 0 && now_ms() >= cancel_at) {
            cancel();
            cancel_at = now_ms() + kStopGraceMs;
        }
        pollfd wanted[2] = {{PQsocket(connection_.get()),
                             static_cast<short>(unsent > 0 ? POLLIN | POLLOUT : POLLIN), 0},
                            {stop_.fd(), POLLIN, 0}};
        ::poll(wanted, cancel_at == 0 ? 2 : 1, pause_ms);
    }
}

void Session::cancel() {
    if (PGcancel *request = PQgetCancel(connection_.get())) {
        char reason[256];
        PQcancel(request, reason, sizeof reason); // failing, it is tried again
        PQfreeCancel(request);
    }
}

void Session::commit() {
    if (PQsendQuery(connection_.get(), "COMMIT") == 0)
        lost();
    PQflush(connection_.get());
    crash_point(CrashPoint::inbox_in_commit);
    // A transaction that had failed answers COMMIT with ROLLBACK, and without an error.
    if (finish().command() != "COMMIT")
        throw ConnectionLost("the server rolled back what was to be committed");
}

bool Session::in_transaction() const {
    return PQtransactionStatus(connection_.get()) != PQTRANS_IDLE;
}

void Session::rollback() {
    try {
        if (in_transaction())
            execute("ROLLBACK");
    } catch (const SqlError &error) {
        throw ConnectionLost(error.what());
    }
}

void Session::lost() const {
    throw ConnectionLost(one_line(PQerrorMessage(connection_.get())));
}

bool is_transient(std::string_view sqlstate) {
    const std::string_view kind = sqlstate.substr(0, 2);
    // 08 connection, 40 rollback (serialization, deadlock), 53 resources, 58 system. 57 operator,
    // but not a cancelled statement: that is how statement_timeout ends a handler that is too slow
    // for this message. 55P03 lock not available, 25006 read-only (the server was demoted).
    return kind == "08" || kind == "40" || kind == "53" || kind == "58" ||
           (kind == "57" && sqlstate != "57014") || sqlstate == "55P03" || sqlstate == "25006";
}

} // namespace once::inbox
