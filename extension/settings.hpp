// The extension's settings (GUCs), each with its unit. Defined in module.cpp.
#pragma once

namespace once::settings {

extern int max_event_bytes;   // once.max_event_bytes: key + payload + headers of one event
extern int max_backlog;       // once.max_backlog: events that may wait in a lane; 0: no limit
extern bool strict_topics;    // once.strict_topics: refuse topics that topic_set has not declared
extern bool strict_consumers; // once.strict_consumers: refuse consumers that nobody declared

extern bool drop_unshipped; // once.drop_unshipped: DROP EXTENSION may take unshipped events along

} // namespace once::settings
