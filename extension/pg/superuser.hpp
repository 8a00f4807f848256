// Runs as the superuser for a scope, as the server's own foreign key checks do: for statements of
// ours that the caller may not run himself. An ERROR restores the role at the end of the
// (sub)transaction.
#pragma once

#include "pg/boundary.hpp"

extern "C" {
#include <catalog/pg_authid.h>
}

namespace pg {

class SuperuserScope {
  public:
    SuperuserScope() noexcept {
        GetUserIdAndSecContext(&role_, &context_);
        SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID,
                               context_ | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
    }
    ~SuperuserScope() { SetUserIdAndSecContext(role_, context_); }
    SuperuserScope(const SuperuserScope &) = delete;
    SuperuserScope &operator=(const SuperuserScope &) = delete;

  private:
    Oid role_ = InvalidOid;
    int context_ = 0;
};

} // namespace pg
