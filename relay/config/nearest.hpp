// "did you mean …": the known name with the fewest edits, when it is near enough to be meant.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace once::config {

// Empty when nothing is within a third of the length (at least two edits).
std::string nearest(std::string_view word, std::span<const std::string> known);

// `Did you mean "x"?`, or the fallback sentence.
std::string did_you_mean(std::string_view word, std::span<const std::string> known,
                         std::string_view otherwise);

} // namespace once::config
