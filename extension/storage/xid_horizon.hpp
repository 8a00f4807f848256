// "Nothing older is running any more": the question behind every handover of truncated-whole
// storage.
#pragma once

#include "pg/prelude.hpp"

extern "C" {
#include <access/transam.h>
}

namespace once::xid_horizon {

// True when every transaction with an xid up to and including `xid` has ended (prepared ones too)
// and every snapshot held in this database was taken after that. Our own transaction and snapshots
// count like any other. Server world: may ERROR. Not on a standby.
[[nodiscard]] bool up_to(FullTransactionId xid);

// The last xid that was handed out. Every transaction that has one now has this or a lower one.
[[nodiscard]] FullTransactionId last_assigned();

} // namespace once::xid_horizon
