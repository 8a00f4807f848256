// The backlog limit (ON004), without a lock or a counter row: the distance of sequence numbers is
// the cheap look; numbers that roll-backs and rotation left unused make it too high, so before
// refusing the events are counted.
#pragma once

#include <cstdint>

namespace once {

// ON004 when more than `limit` events of the lane wait for the relay.
void check_backlog(int lane, int64_t limit);

} // namespace once
