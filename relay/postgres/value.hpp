// A value of a statement, as it stands for $1, $2 …: its text, whose type the server decides.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace once::postgres {

class Value {
  public:
    Value(std::nullopt_t) {}
    Value(const char *text) : text_(text) {}
    Value(std::string text) : text_(std::move(text)) {}
    Value(std::string_view text) : text_(text) {}
    Value(bool truth) : text_(truth ? "t" : "f") {}
    template <std::integral Number> Value(Number number) : text_(std::to_string(number)) {}
    template <typename T> Value(const std::optional<T> &value) {
        if (value)
            text_ = Value(*value).text_;
    }
    // Of what has no comma, quote or brace in its text: numbers, uuids.
    template <typename T> Value(const std::vector<T> &elements) : text_("{") {
        for (const T &element : elements) {
            if (text_->size() > 1)
                *text_ += ',';
            *text_ += *Value(element).text_;
        }
        *text_ += '}';
    }

    const std::optional<std::string> &text() const { return text_; }

  private:
    std::optional<std::string> text_;
};

} // namespace once::postgres
