#include "relay/outbox/event.hpp"

#include "relay/postgres/copy_row.hpp"
#include "relay/postgres/session_lost.hpp"

namespace once::outbox {

std::string to_text(const Uuid &id) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text(36, '-');
    std::size_t at = 0;
    for (std::size_t i = 0; i < id.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            ++at;
        text[at++] = digits[id[i] >> 4];
        text[at++] = digits[id[i] & 15];
    }
    return text;
}

namespace {

constexpr std::int64_t kMsFrom1970To2000 = 946684800000;

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

std::optional<std::string> bytes_from_hex(std::string_view digits) {
    if (digits.size() % 2 != 0)
        return std::nullopt;
    std::string bytes(digits.size() / 2, '\0');
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const int high = nibble(digits[2 * i]), low = nibble(digits[2 * i + 1]);
        if (high < 0 || low < 0)
            return std::nullopt;
        bytes[i] = static_cast<char>(high << 4 | low);
    }
    return bytes;
}

Event decode_event(std::string_view row) {
    postgres::RowReader reader(row);
    Event event;
    event.seq = reader.int64();
    const auto id = reader.field();
    if (!id || id->size() != event.id.size())
        throw postgres::SessionLost("an event has no id");
    std::memcpy(event.id.data(), id->data(), event.id.size());
    event.topic = reader.field().value_or("");
    event.key = reader.field();
    event.payload = reader.field();
    event.headers = reader.field().value_or("");
    event.partition = reader.int32_or(-1);
    const std::int64_t us = reader.int64();
    event.form = reader.byte();
    reader.finish();
    event.time_ms = us / 1000 - (us % 1000 < 0 ? 1 : 0) + kMsFrom1970To2000;
    return event;
}

} // namespace once::outbox
