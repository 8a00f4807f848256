// Whether this program and the extension understand each other: asked when a session is opened, and
// again while it works, because an update may come under a running relay.
#pragma once

#include "extension/wire/protocol.hpp"
#include "relay/process/exit_code.hpp"

namespace once::postgres {

inline constexpr const char *kAskProtocol = "SELECT oldest, newest FROM once.protocol()";

// Throws Refusal (exit code 3).
inline void require_protocol(wire::ProtocolRange extension) {
    if (wire::meet(extension, wire::kProtocol))
        return;
    const bool older = extension.newest < wire::kProtocol.oldest;
    throw Refusal(ExitCode::mismatch,
                  "extension \"pg_once\" speaks protocol " + wire::text_of(extension) +
                      ", this program " + wire::text_of(wire::kProtocol),
                  "A relay works with the extension of its own release and of the one before, and "
                  "the other way round.",
                  older ? "Install the extension of this program's version, then ALTER EXTENSION "
                          "pg_once UPDATE."
                        : "Install the once-relay of the same version as the extension.");
}

} // namespace once::postgres
