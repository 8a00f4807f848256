// Headers that a transaction gives to each event it publishes, so that what traces a request need
// not be passed through every call:
//
//     SET LOCAL once.headers = '{"traceparent": "00-…"}'
//
// What a session sets counts to the end of its transaction, without LOCAL too: the next transaction
// of a pooled session is somebody else's. What a database, a role or the connection string gives
// lasts.
#pragma once

#include "outbox/event.hpp"

namespace once {

// Defines the setting; once, when the library is loaded.
void define_session_headers();

// Adds those that the event has not itself. ON003 as for headers of a call, 22P02 for no JSON.
void add_session_headers(Event &event);

} // namespace once
