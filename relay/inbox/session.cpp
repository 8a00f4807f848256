#include "relay/inbox/session.hpp"

#include "relay/process/crash_point.hpp"
#include "relay/postgres/connect.hpp"
#include "relay/postgres/session_settings.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/inbox/arrays.hpp"
#include "relay/process/metrics.hpp"
#include "relay/options.hpp"
#include "relay/process/one_line.hpp"
#include "relay/process/stop_signal.hpp"

#include <algorithm>
#include <chrono>
#include <future>

#include <poll.h>

namespace once::inbox {
namespace {

constexpr int kBeatMs = 1000;
// So long a batch may go on after SIGTERM; then it is rolled back and comes again after the
// restart.
constexpr std::int64_t kStopGraceMs = 5000;
// And so long the server has to say that it was cancelled.
constexpr std::int64_t kCancelledMs = 2000;
// A handler may take as long as it likes: so often the server is asked whether it is there at all.
constexpr std::int64_t kAskMs = 15000;

} // namespace

Parameter::Parameter(Array &array) : bytes(array.encoded()), binary(true), type(array.type()) {}

struct Session::Wait {
    std::int64_t ask_at = now_ms() + kAskMs;
    std::int64_t cancel_at = 0; // 0: nobody asked to stop
    bool cancelled = false;
    std::future<bool> answers; // whether the server answers anybody, while it is being asked
};

Session::Session(const DatabaseOptions &options, const StopSignal &stop_signal,
                 std::function<int()> beat)
    : options_(options), stop_(stop_signal), on_beat_(std::move(beat)),
      settings_(postgres::session_settings(postgres::Purpose::inbox, options)),
      session_(options, postgres::Purpose::inbox, &stop_signal) {
    PQsetnonblocking(raw(), 1);
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
        if (PQsendQueryParams(raw(), statement.c_str(), count, types.data(), values.data(),
                              lengths.data(), formats.data(), 0) == 0)
            lost();
        return finish();
    }
    if (std::find(prepared_.begin(), prepared_.end(), name) == prepared_.end()) {
        if (PQsendPrepare(raw(), name.c_str(), statement.c_str(), count, types.data()) == 0)
            lost();
        finish();
        prepared_.push_back(name);
    }
    if (PQsendQueryPrepared(raw(), name.c_str(), count, values.data(), lengths.data(),
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
    if (PQstatus(raw()) != CONNECTION_OK)
        throw SessionLost(text.empty() ? one_line(PQerrorMessage(raw())) : text);
    if (!state.empty())
        throw SqlError(state, text);
    return last;
}

PGresult *Session::wait_for_result() {
    Wait wait;
    for (;;) {
        const int unsent = PQflush(raw());
        if (unsent < 0 || PQconsumeInput(raw()) == 0)
            lost();
        if (PQisBusy(raw()) == 0)
            return PQgetResult(raw());
        const int pause_ms = on_beat_ ? std::min(on_beat_(), kBeatMs) : kBeatMs;
        stop_in_time(wait);
        ask_in_time(wait);
        pollfd wanted[2] = {
            {PQsocket(raw()), static_cast<short>(unsent > 0 ? POLLIN | POLLOUT : POLLIN), 0},
            {stop_.fd(), POLLIN, 0}};
        ::poll(wanted, wait.cancel_at == 0 ? 2 : 1, pause_ms);
    }
}

void Session::stop_in_time(Wait &wait) {
    if (!stop_.requested())
        return;
    if (wait.cancel_at == 0)
        wait.cancel_at = now_ms() + kStopGraceMs;
    if (now_ms() < wait.cancel_at)
        return;
    if (wait.cancelled)
        throw SessionLost("the database did not answer before the stop");
    postgres::cancel(raw());
    wait.cancelled = true;
    wait.cancel_at = now_ms() + kCancelledMs;
}

// By a connection of its own, beside the heartbeat.
void Session::ask_in_time(Wait &wait) {
    if (!wait.answers.valid()) {
        if (now_ms() >= wait.ask_at && !stop_.requested())
            wait.answers = postgres::ask_for_life(raw(), options_);
        return;
    }
    if (wait.answers.wait_for(std::chrono::seconds(0)) != std::future_status::ready)
        return;
    if (!wait.answers.get())
        throw SessionLost("the database does not answer any more");
    wait.ask_at = now_ms() + kAskMs;
}

void Session::take_back() {
    run(settings_);
}

void Session::begin() {
    run(settings_ + "; BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
}

// Deferred triggers run as the role that the handler chose: it goes when we need ours.
void Session::commit() {
    if (PQsendQuery(raw(), "COMMIT") == 0)
        lost();
    PQflush(raw());
    crash_point(CrashPoint::inbox_in_commit);
    // A transaction that had failed answers COMMIT with ROLLBACK, and without an error.
    if (finish().command() != "COMMIT")
        throw SessionLost("the server rolled back what was to be committed");
}

Rows Session::run(const std::string &statements) {
    if (PQsendQuery(raw(), statements.c_str()) == 0)
        lost();
    return finish();
}

bool Session::in_transaction() const {
    return PQtransactionStatus(raw()) != PQTRANS_IDLE;
}

void Session::rollback() {
    try {
        if (in_transaction())
            execute("ROLLBACK");
    } catch (const SqlError &error) {
        throw SessionLost(error.what());
    }
}

void Session::lost() const {
    throw SessionLost(one_line(PQerrorMessage(raw())));
}

} // namespace once::inbox
