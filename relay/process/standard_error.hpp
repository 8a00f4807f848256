// stderr without a wait: where its reader has stopped reading, what does not fit is dropped and
// counted, and nobody who writes a line stands still.
#pragma once

#include <cstdint>
#include <string_view>

namespace once {

// The text as a whole, or nothing of it when there is no room now; a text longer than a pipe takes
// at once may end in the middle. Any thread.
void write_standard_error(std::string_view text) noexcept;

// Texts that were dropped or cut since the start.
std::uint64_t dropped_texts() noexcept;

} // namespace once
