#include "relay/inbox/json_ids.hpp"

#include <algorithm>
#include <cstdint>

#include <nlohmann/json.hpp>

namespace once::inbox {
namespace {

constexpr int kMostDepth = 2000; // nested values; each is a frame of ours
constexpr std::int64_t kMostDigits = 1000;
constexpr std::int64_t kMostExponent = 1'000'000'000'000;

using Pointer = std::vector<std::string>;

// "/a~1b/0" → "a/b", "0"
Pointer steps_of(std::string_view pointer) {
    Pointer steps;
    while (!pointer.empty()) {
        pointer.remove_prefix(1); // the slash
        const std::size_t end = std::min(pointer.find('/'), pointer.size());
        std::string step(pointer.substr(0, end));
        for (const auto &[escape, plain] : {std::pair{"~1", "/"}, std::pair{"~0", "~"}})
            for (std::size_t at = step.find(escape); at != std::string::npos;
                 at = step.find(escape, at + 1))
                step.replace(at, 2, plain);
        steps.push_back(std::move(step));
        pointer.remove_prefix(end);
    }
    return steps;
}

class Scanner {
  public:
    Scanner(std::string_view text, const std::vector<std::string> &pointers)
        : text_(text), found_(pointers.size()) {
        for (const std::string &pointer : pointers)
            pointers_.push_back(steps_of(pointer));
    }

    std::vector<std::optional<std::string>> run() {
        if (text_.starts_with("\xef\xbb\xbf"))
            at_ = 3;
        std::vector<std::size_t> all(pointers_.size());
        for (std::size_t i = 0; i < all.size(); ++i)
            all[i] = i;
        const bool valid = value(all, 0);
        space();
        if (!valid || at_ != text_.size())
            found_.assign(found_.size(), std::nullopt);
        return std::move(found_);
    }

  private:
    // Pointers that lead to or through the value that is being read, by their numbers.
    using Live = std::vector<std::size_t>;

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    void space() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }
    bool word(std::string_view expected) {
        const bool there = text_.substr(at_).starts_with(expected);
        at_ += there ? expected.size() : 0;
        return there;
    }

    bool value(const Live &live, std::size_t depth) {
        if (depth > kMostDepth)
            return false;
        space();
        switch (peek()) {
        case '{':
            return members(live, depth, '}');
        case '[':
            return members(live, depth, ']');
        case '"': {
            const auto raw = string();
            if (!raw)
                return false;
            for (const std::size_t i : live)
                if (pointers_[i].size() == depth)
                    found_[i] = unescaped(*raw);
            return true;
        }
        case 't':
            return word("true");
        case 'f':
            return word("false");
        case 'n':
            return word("null");
        default:
            return number(live, depth);
        }
    }

    // Of an object or an array.
    bool members(const Live &live, std::size_t depth, char end) {
        ++at_;
        space();
        if (peek() == end)
            return ++at_, true;
        for (std::size_t index = 0;; ++index) {
            std::string step;
            if (end == '}') {
                space();
                const auto raw = peek() == '"' ? string() : std::nullopt;
                space();
                if (!raw || !word(":"))
                    return false;
                if (!live.empty())
                    step = unescaped(*raw).value_or("");
            } else if (!live.empty()) {
                step = std::to_string(index);
            }
            Live inside;
            for (const std::size_t i : live)
                if (pointers_[i].size() > depth && pointers_[i][depth] == step) {
                    inside.push_back(i);
                    found_[i].reset(); // of a member that came before under this name
                }
            if (!value(inside, depth + 1))
                return false;
            space();
            if (word(","))
                continue;
            return word(std::string_view(&end, 1));
        }
    }

    // With its quotes and escapes.
    std::optional<std::string_view> string() {
        const std::size_t begin = at_++;
        for (; at_ < text_.size(); ++at_) {
            if (static_cast<unsigned char>(text_[at_]) < 0x20)
                return std::nullopt;
            if (text_[at_] == '"') {
                ++at_;
                return text_.substr(begin, at_ - begin);
            }
            at_ += text_[at_] == '\\' ? 1 : 0;
        }
        return std::nullopt;
    }

    static std::optional<std::string> unescaped(std::string_view raw) {
        const auto text = nlohmann::json::parse(raw, nullptr, false);
        return text.is_string() ? std::optional(text.get<std::string>()) : std::nullopt;
    }

    bool digits() {
        const std::size_t begin = at_;
        at_ = std::min(text_.find_first_not_of("0123456789", at_), text_.size());
        return at_ > begin;
    }

    bool number(const Live &live, std::size_t depth) {
        const std::size_t begin = at_;
        at_ += peek() == '-' ? 1 : 0;
        if (peek() == '0')
            ++at_; // no digit may follow: the caller does not expect one
        else if (!digits())
            return false;
        if (peek() == '.') {
            ++at_;
            if (!digits())
                return false;
        }
        if (peek() == 'e' || peek() == 'E') {
            ++at_;
            at_ += peek() == '+' || peek() == '-' ? 1 : 0;
            if (!digits())
                return false;
        }
        for (const std::size_t i : live)
            if (pointers_[i].size() == depth)
                found_[i] = canonical_number(text_.substr(begin, at_ - begin));
        return true;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::vector<Pointer> pointers_;
    std::vector<std::optional<std::string>> found_;
};

} // namespace

std::vector<std::optional<std::string>> json_ids(std::string_view payload,
                                                 const std::vector<std::string> &pointers) {
    return Scanner(payload, pointers).run();
}

std::string canonical_number(std::string_view literal) {
    const bool negative = literal.starts_with('-');
    literal.remove_prefix(negative ? 1 : 0);
    const std::size_t letter = std::min(literal.find_first_of("eE"), literal.size());
    std::string digits(literal.substr(0, letter));
    std::int64_t exponent = 0; // of ten, for the last digit
    if (const std::size_t dot = digits.find('.'); dot != std::string::npos) {
        exponent = -static_cast<std::int64_t>(digits.size() - dot - 1);
        digits.erase(dot, 1);
    }
    if (std::string_view written = literal.substr(std::min(letter + 1, literal.size()));
        !written.empty()) {
        const bool down = written.front() == '-';
        std::int64_t power = 0;
        for (const char c : written)
            if (c >= '0' && c <= '9')
                power = std::min(kMostExponent, 10 * power + (c - '0'));
        exponent += down ? -power : power;
    }
    digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
    while (digits.ends_with('0')) {
        digits.pop_back();
        ++exponent;
    }
    if (digits.empty())
        return "0";
    const auto size = static_cast<std::int64_t>(digits.size());
    if (exponent >= 0 && size + exponent <= kMostDigits)
        digits.append(static_cast<std::size_t>(exponent), '0');
    else if (exponent < 0 && size + exponent > 0)
        digits.insert(static_cast<std::size_t>(size + exponent), ".");
    else if (exponent < 0 && -exponent <= kMostDigits)
        digits = "0." + std::string(static_cast<std::size_t>(-exponent - size), '0') + digits;
    else
        digits += "e" + std::to_string(exponent);
    return (negative ? "-" : "") + digits;
}

} // namespace once::inbox
