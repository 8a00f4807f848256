// Events that wait in once.scheduled until they are due.
#pragma once

#include "outbox/event.hpp"

extern "C" {
#include <datatype/timestamp.h>
}

namespace once {

// Keeps a finished event that has its id. 22023 when it would never be due.
void schedule(const Event &event, TimestampTz deliver_at);

} // namespace once
