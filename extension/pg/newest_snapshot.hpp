// What is committed at this moment (and what the transaction itself did), whatever its isolation
// level.
#pragma once

#include "pg/prelude.hpp"

extern "C" {
#include <access/xact.h>
#include <utils/snapmgr.h>
}

namespace pg {

// While a query runs in parallel the server takes no newer snapshot: then it is the statement's
// own, and what was read under it must not be remembered. Server world: may ERROR.
inline Snapshot newest_snapshot() {
    return IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot();
}

} // namespace pg
