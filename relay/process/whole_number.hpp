// A text that is a number from its first byte to its last.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace once {

// None: something else stands in it, or the number does not fit. A sign is a minus or nothing.
template <typename Number> std::optional<Number> whole_number(std::string_view text) {
    Number value{};
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

} // namespace once
