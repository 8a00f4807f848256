#include "relay/outbox/event.hpp"

namespace once::outbox {

std::string to_text(const Uuid &id) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    text.reserve(36);
    for (std::size_t i = 0; i < id.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text.push_back('-');
        text.push_back(digits[id[i] >> 4]);
        text.push_back(digits[id[i] & 15]);
    }
    return text;
}

namespace {

int nibble(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

} // namespace

std::optional<Uuid> uuid_from_text(std::string_view text) {
    if (text.size() != 36)
        return std::nullopt;
    Uuid id{};
    std::size_t at = 0;
    for (std::size_t i = 0; i < id.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            if (text[at++] != '-')
                return std::nullopt;
        const int high = nibble(text[at]), low = nibble(text[at + 1]);
        if (high < 0 || low < 0)
            return std::nullopt;
        id[i] = static_cast<unsigned char>(high << 4 | low);
        at += 2;
    }
    return id;
}

} // namespace once::outbox
