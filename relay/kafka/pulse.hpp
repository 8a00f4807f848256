// How a wait inside a client of Kafka stays alive: called at least every second while it lasts.
#pragma once

#include <functional>

namespace once::kafka {

// Gives the sign of life of the thread that waits. True: leave, somebody wants it to stop.
using Pulse = std::function<bool()>;

} // namespace once::kafka
