// Where libpqxx 6 and 7 differ, and nowhere else: a connection that never reconnects by itself
// (locks and settings would be gone) and that lends its libpq handle for the one thing libpqxx
// cannot do, a binary COPY.
#pragma once

#include <libpq-fe.h>
#include <pqxx/pqxx>

#include <memory>
#include <string>

namespace once::postgres {

#if PQXX_VERSION_MAJOR < 7

class Connection : public pqxx::connection_base {
  public:
    explicit Connection(const std::string &conninfo)
        : pqxx::connection_base(policy_), policy_(conninfo) {
        init();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" // in 7 it is gone, with what it inhibits
        inhibit_reactivation(true);
#pragma GCC diagnostic pop
    }
    ~Connection() noexcept {
        close();
    }

    PGconn *raw() const noexcept {
        return policy_.raw;
    }
    pqxx::connection_base &pqxx() noexcept {
        return *this;
    }

  private:
    struct Policy : pqxx::connectionpolicy {
        using pqxx::connectionpolicy::connectionpolicy;
        handle do_startconnect(handle existing) override {
            return raw = existing != nullptr ? existing : normalconnect(nullptr);
        }
        PGconn *raw = nullptr;
    };
    Policy policy_;
};
using PqxxConnection = pqxx::connection_base;

template <typename Work> pqxx::row exec_row(Work &work, const std::string &sql) {
    return work.exec1(sql);
}

#else

class Connection {
  public:
    explicit Connection(const std::string &conninfo)
        : handle(PQconnectdb(conninfo.c_str())),
          owner(pqxx::connection::seize_raw_connection(handle)) {}

    PGconn *raw() const noexcept { return handle; }
    pqxx::connection &pqxx() noexcept { return owner; }
    bool is_open() const noexcept { return owner.is_open(); }

  private:
    PGconn *handle;
    pqxx::connection owner;
};
using PqxxConnection = pqxx::connection;

template <typename Work> pqxx::row exec_row(Work &work, const std::string &sql) {
    return work.exec(sql).one_row();
}

#endif

} // namespace once::postgres
