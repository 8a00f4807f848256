// One session with the database, for whoever of the relay has something to ask: the lane that it
// holds, upkeep, an inbox, and the commands that look. libpqxx sends the statements; every wait has
// an end of ours (watch.hpp) and hears a stop.
//
// A statement fails in two ways: SqlError, the server refused it and the connection lives; and
// SessionLost, there is nothing to repair: locks and settings die with the connection.
#pragma once

#include "relay/postgres/compat.hpp"
#include "relay/postgres/session_lost.hpp"
#include "relay/postgres/value.hpp"
#include "relay/postgres/watch.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace once {
struct DatabaseOptions;
class StopSignal;
} // namespace once

namespace once::postgres {

// What a session is for decides on its settings (session_settings.cpp) and its patience.
enum class Purpose { lane, upkeep, inbox, question };

class Session {
  public:
    // Connects, refuses a transaction pooler (not for a question), sets what the purpose needs.
    // Throws SessionLost or Refusal. `stop` may be null.
    Session(const DatabaseOptions &options, Purpose purpose, const StopSignal *stop);
    ~Session();
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;

    // One statement in a transaction of its own, its values $1, $2 …
    template <typename... Values>
    pqxx::result rows(const std::string &sql, const Values &...values) {
        return run(sql, {Value(values).text()...});
    }
    // The one row it answers.
    template <typename... Values> pqxx::row row(const std::string &sql, const Values &...values) {
        return only_row(rows(sql, values...));
    }

    // Waits that libpqxx or libpq begin inside fn end after `limit`; what they throw becomes
    // SqlError or SessionLost.
    template <typename Function>
    auto watched(std::chrono::milliseconds limit, Function &&fn) -> decltype(fn()) {
        const Watch::Guard guard(PQsocket(raw()), limit, stop_);
        try {
            return fn();
        } catch (const pqxx::usage_error &) { // in libpqxx 8 these three are failures, too
            rethrow(guard.cut(), limit);
        } catch (const pqxx::argument_error &) {
            rethrow(guard.cut(), limit);
        } catch (const pqxx::range_error &) {
            rethrow(guard.cut(), limit);
        } catch (const pqxx::failure &) {
            rethrow(guard.cut(), limit);
        }
    }
    template <typename Function> auto watched(Function &&fn) -> decltype(fn()) {
        return watched(patience_, fn);
    }

    // For what libpqxx cannot do: a binary COPY, a wait with a beat.
    PGconn *raw() const noexcept { return connection_->raw(); }
    Connection &connection() noexcept { return *connection_; }
    const StopSignal *stop() const noexcept { return stop_; }
    std::chrono::milliseconds patience() const noexcept { return patience_; }
    // Statements from now on may take so long; the server's own timeout is to be set, too.
    void be_patient(std::chrono::milliseconds limit) noexcept { patience_ = limit; }

    static pqxx::row only_row(const pqxx::result &rows);

  private:
    pqxx::result run(const std::string &sql, const ValueList &values);
    [[noreturn]] void rethrow(bool cut, std::chrono::milliseconds limit) const;

    const StopSignal *stop_;
    std::chrono::milliseconds patience_;
    std::unique_ptr<Connection> connection_;
};

// Several statements that happen together or not at all; rolled back unless commit() is called.
class Transaction {
  public:
    explicit Transaction(Session &session);
    ~Transaction();
    Transaction(const Transaction &) = delete;
    Transaction &operator=(const Transaction &) = delete;

    template <typename... Values>
    pqxx::result rows(const std::string &sql, const Values &...values) {
        return run(sql, {Value(values).text()...});
    }
    template <typename... Values> pqxx::row row(const std::string &sql, const Values &...values) {
        return Session::only_row(rows(sql, values...));
    }
    // After SessionLost nobody knows whether it went through.
    void commit();

  private:
    pqxx::result run(const std::string &sql, const ValueList &values);

    Session &session_;
    std::optional<pqxx::work> work_;
};

// What a server's refusal means to a relay that needs the statement: a Refusal where it will never
// be another one, else SessionLost: the session is begun anew.
[[noreturn]] void refuse_or_lose(const SqlError &error);
template <typename Function> auto guarded(Function &&fn) -> decltype(fn()) {
    try {
        return fn();
    } catch (const SqlError &error) {
        refuse_or_lose(error);
    }
}

// Throws Refusal where the extension speaks another protocol, or an update has brought one
// meanwhile.
void check_protocol(Session &session);

// A lane's session, or upkeep's, with the protocol compared.
std::unique_ptr<Session> connect(const DatabaseOptions &options, Purpose purpose,
                                 const StopSignal *stop);

} // namespace once::postgres
