// The handshake between extension and relay: raised whenever a function or record that both use
// changes its meaning.
#pragma once

namespace once::wire {

inline constexpr int kProtocol = 1;

} // namespace once::wire
