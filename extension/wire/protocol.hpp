// The handshake between extension and relay. A protocol is a number, raised whenever a function,
// view or record that both use changes its meaning. Either side speaks a range of them: its own and
// that of the release before, so that one can be updated before the other.
#pragma once

#include <string>

namespace once::wire {

struct ProtocolRange {
    int oldest;
    int newest;
};

// Of this program; the extension's is in sql/api/protocol.sql. `make checkver` compares.
inline constexpr ProtocolRange kProtocol{2, 2};

// Whether there is one that both speak: then it is the lower of the two newest.
[[nodiscard]] constexpr bool meet(ProtocolRange a, ProtocolRange b) {
    return a.oldest <= a.newest && b.oldest <= b.newest && a.oldest <= b.newest &&
           b.oldest <= a.newest;
}

[[nodiscard]] inline std::string text_of(ProtocolRange range) {
    const std::string oldest = std::to_string(range.oldest);
    return range.oldest == range.newest ? oldest : oldest + " to " + std::to_string(range.newest);
}

} // namespace once::wire
