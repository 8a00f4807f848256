// The application's function: found, checked, called.
#pragma once

#include "relay/inbox/batch.hpp"
#include "relay/inbox/session.hpp"

#include <string>

namespace once {
struct InboxOptions;
}

namespace once::inbox {

class Handler {
  public:
    explicit Handler(const InboxOptions &options) : options_(options) {}

    // Remembers the role's statement_timeout and lock_timeout: they are for the handler, our own
    // statements have none.
    void connect(Session &session);
    // It is there, of the right signature, volatile, and ours to execute. Throws Refusal,
    // SessionLost.
    void check(Session &session);

    // In an open transaction. Throw SqlError, SessionLost.
    void call(Session &session, MessageColumns &columns) const;
    // For one row of once.inbox.
    void call_parked(Session &session, const std::string &id) const;

  private:
    std::string signature() const;
    void limit(Session &session) const;

    const InboxOptions &options_;
    std::string name_;                    // as the catalog quotes it
    std::string time_limit_, lock_limit_; // "0": none
};

// SQL for once.message[] of the columns in parameters $first and up.
std::string messages_sql(int first);

} // namespace once::inbox
