// Where libpqxx 6, 7 and 8 differ, and nowhere else: a connection made by libpq (connect.hpp) that
// libpqxx owns and never opens again by itself (locks and settings would be gone), and how a
// statement gets its values.
#pragma once

#include <libpq-fe.h>
#include <pqxx/pqxx>

#include <optional>
#include <string>
#include <vector>

namespace once::postgres {

// As text; the server decides on the types. None: NULL.
using ValueList = std::vector<std::optional<std::string>>;

#if PQXX_VERSION_MAJOR < 7

class Connection : public pqxx::connection_base {
  public:
    // Takes the handle over.
    explicit Connection(PGconn *open) : pqxx::connection_base(policy_), policy_(open) {
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
        explicit Policy(PGconn *open) : pqxx::connectionpolicy({}), raw(open) {}
        handle do_startconnect(handle) override { return raw; }
        PGconn *raw;
    };
    Policy policy_;
};

template <typename Work>
pqxx::result exec_values(Work &work, const std::string &sql, const ValueList &values) {
    if (values.empty())
        return work.exec(sql);
    std::vector<const char *> texts;
    for (const auto &value : values)
        texts.push_back(value ? value->c_str() : nullptr);
    return work.exec_params(sql, pqxx::prepare::make_dynamic_params(texts));
}

#else

class Connection {
  public:
    // Takes the handle over.
    explicit Connection(PGconn *open)
        : handle_(open), owner_(pqxx::connection::seize_raw_connection(open)) {}

    PGconn *raw() const noexcept { return handle_; }
    pqxx::connection &pqxx() noexcept { return owner_; }

  private:
    PGconn *handle_;
    pqxx::connection owner_;
};

template <typename Work>
pqxx::result exec_values(Work &work, const std::string &sql, const ValueList &values) {
    if (values.empty())
        return work.exec(sql);
    pqxx::params all;
    for (const auto &value : values)
        if (value)
            all.append(*value);
        else
            all.append();
#if PQXX_VERSION_MAJOR == 7 && PQXX_VERSION_MINOR < 9
    return work.exec_params(sql, all);
#else
    return work.exec(sql, all);
#endif
}

#endif

} // namespace once::postgres
