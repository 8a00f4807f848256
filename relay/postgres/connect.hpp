// Connects as libpq does, host after host, with an end of ours to it: the attempt runs aside
// (process/aside.hpp), because a name server or a host that is silent keeps libpq for longer than a
// stop may take.
#pragma once

#include "relay/process/stop_signal.hpp"

#include <libpq-fe.h>

#include <future>
#include <memory>
#include <string>

namespace once {
struct DatabaseOptions;
}

namespace once::postgres {

using Handle = std::unique_ptr<PGconn, decltype(&PQfinish)>;

// Connected, and able to notice a host that vanished within session_timeout_ms. Throws SessionLost.
Handle open_connection(const DatabaseOptions &options, const std::string &application,
                       const StopSignal *stop);

// Asks the server to end what `connection` does; waits two seconds for that to be told, no longer,
// and with no ear for a stop: that is when it is needed.
void cancel(PGconn *connection);

// Whether the server that `connection` is connected to answers anybody, asked by a connection of
// its own, in a thread of its own; the answer is there after connect_timeout_s at the latest. For a
// statement that may take as long as it likes.
std::future<bool> ask_for_life(PGconn *connection, const DatabaseOptions &options);

// Before PQfinish, where a statement may be under way: the farewell must not wait for the server.
void hang_up(PGconn *connection) noexcept;

} // namespace once::postgres
