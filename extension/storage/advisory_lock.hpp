// Advisory locks of our own: the classes that pg_advisory_lock cannot reach, all in one place, and
// locks by name.
#pragma once

#include "pg/prelude.hpp"

extern "C" {
#include <storage/lock.h>
}

#include <string_view>

namespace once {

// The fourth field of an advisory lock's tag. pg_advisory_lock(bigint) uses 1, the form with two
// integers 2. Changing a number lets an old session and a new one hold the same lock.
enum class LockClass : uint16 { names = 79, lanes = 80, claim_key = 0x4f01, claim_waiter = 0x4f02 };

LOCKTAG lock_tag(LockClass lock_class, uint32 high, uint32 low);

// What a name is a name of: equal names of different spaces are different locks.
enum class LockSpace : char { names = 'n', machine = 'm', key_order = 'k', deliver = 's' };

LOCKTAG lock_tag(LockSpace space, std::string_view name);

} // namespace once
