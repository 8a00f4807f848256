// The session of the receiving database with what libpqxx cannot: parameters in binary, and a wait
// that keeps the heartbeat going while a handler works, for as long as it likes.
#pragma once

#include "relay/inbox/database_errors.hpp"
#include "relay/postgres/session.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace once {
struct DatabaseOptions;
class StopSignal;
} // namespace once

namespace once::inbox {

class Array;

// One parameter: text without NUL whose type the server decides, or an array in binary format. It
// points to what it was made of.
struct Parameter {
    std::string_view bytes;
    bool binary = false;
    std::uint32_t type = 0;

    Parameter(const std::string &text) : bytes(text.c_str(), text.size()) {}
    Parameter(Array &array);
};

// Rows as text.
class Rows {
  public:
    explicit Rows(PGresult *result) : owned_(result, &PQclear) {}
    int count() const { return PQntuples(owned_.get()); }
    bool null(int row, int column) const { return PQgetisnull(owned_.get(), row, column) != 0; }
    std::string text(int row, int column) const {
        return {PQgetvalue(owned_.get(), row, column),
                static_cast<std::size_t>(PQgetlength(owned_.get(), row, column))};
    }
    std::int64_t number(int row, int column) const {
        return std::stoll(PQgetvalue(owned_.get(), row, column));
    }
    std::string command() const { return PQcmdStatus(owned_.get()); }
    bool truth(int row, int column) const { return *PQgetvalue(owned_.get(), row, column) == 't'; }

  private:
    std::unique_ptr<PGresult, decltype(&PQclear)> owned_;
};

class Session {
  public:
    // `beat` is called again and again while a statement runs; it says for how many milliseconds to
    // wait for the server until the next time. Throws SessionLost, SqlError, Refusal.
    Session(const DatabaseOptions &options, const StopSignal &stop_signal,
            std::function<int()> beat);

    // Throws SqlError, SessionLost. A statement has no end of its own; a server that gives no sign
    // of life to anybody is lost, and one still running kStopGraceMs after the stop signal is
    // cancelled.
    Rows execute(const std::string &statement, const std::vector<Parameter> &parameters = {});
    // The same, planned once per connection under this name.
    Rows execute_prepared(const std::string &name, const std::string &statement,
                          const std::vector<Parameter> &parameters);

    // Settings and role as they were at first, whatever a handler has left behind. A transaction
    // that is rolled back brings back what was left.
    void take_back();
    // Does that and begins a transaction.
    void begin();
    // Throws like execute; after SessionLost nobody knows whether it went through.
    void commit();

    bool in_transaction() const;
    // Leaves a transaction whatever its state; never throws SqlError.
    void rollback();

  private:
    // What is known of the server while a statement runs.
    struct Wait;

    Rows run(const std::string &statements);
    Rows finish();
    PGresult *wait_for_result();
    void stop_in_time(Wait &wait);
    void ask_in_time(Wait &wait);
    PGconn *raw() const { return session_.raw(); }
    [[noreturn]] void lost() const;

    const DatabaseOptions &options_;
    const StopSignal &stop_;
    std::function<int()> on_beat_;
    const std::string settings_;
    postgres::Session session_;
    std::vector<std::string> prepared_;
};

} // namespace once::inbox
