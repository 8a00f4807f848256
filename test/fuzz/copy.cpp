// The binary COPY stream that events arrive in: a length byte and so many bytes are one message.
#include "relay/postgres/copy_row.hpp"
#include "relay/postgres/session_lost.hpp"
#include "relay/outbox/event.hpp"

#include "test/fuzz/target.hpp"

using namespace once;
using fuzz::hold;
using outbox::Event;
using postgres::SessionLost;

namespace {

constexpr std::string_view kFileHeader{"PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19};

template <typename Number> std::string bytes_of(Number number) {
    std::string bytes;
    for (int shift = 8 * (static_cast<int>(sizeof number) - 1); shift >= 0; shift -= 8)
        bytes += static_cast<char>(static_cast<std::uint64_t>(number) >> shift);
    return bytes;
}

std::string field(const std::optional<std::string> &value) {
    if (!value)
        return bytes_of(std::int32_t{-1});
    return bytes_of(static_cast<std::int32_t>(value->size())) + *value;
}

std::optional<std::string> maybe(fuzz::Bytes &in) {
    if (in.flag())
        return in.text();
    return std::nullopt;
}

bool equal(const std::optional<std::string_view> &a, const std::optional<std::string> &b) {
    return a.has_value() == b.has_value() && (!a || *a == *b);
}

// Milliseconds since 1970 of microseconds since 2000, rounded down, without a chance to overflow.
std::int64_t time_ms(std::int64_t us) {
    const __int128 since_1970 = __int128{us} + __int128{946684800} * 1'000'000;
    return static_cast<std::int64_t>(since_1970 >= 0 ? since_1970 / 1000
                                                     : (since_1970 - 999) / 1000);
}

void ours(fuzz::Bytes in) {
    const auto seq = in.number<std::int64_t>(), us = in.number<std::int64_t>();
    const auto partition = in.number<std::int32_t>();
    std::string id = in.text();
    id.resize(16);
    const std::string topic = in.text();
    const auto key = maybe(in), payload = maybe(in), headers = maybe(in);
    const std::string form(1, in.flag() ? 'j' : 'b');
    std::string row = bytes_of(std::int16_t{9}) + field(bytes_of(seq)) + field(id) + field(topic) +
                      field(key) + field(payload) + field(headers) +
                      (partition < 0 ? field(std::nullopt) : field(bytes_of(partition))) +
                      field(bytes_of(us)) + field(form);
    if (in.flag())
        row.insert(0, kFileHeader);
    const auto found = postgres::row_of_message(row);
    hold(found.has_value(), "a message with a row has one");
    const Event event = outbox::decode_event(*found);
    hold(event.seq == seq && event.time_ms == time_ms(us), "numbers");
    hold(event.form == form.front(), "form");
    hold(event.partition == (partition < 0 ? -1 : partition), "partition");
    hold(std::memcmp(event.id.data(), id.data(), id.size()) == 0, "id");
    hold(event.topic == topic && event.headers == headers.value_or(""), "texts");
    hold(equal(event.key, key) && equal(event.payload, payload), "null and empty differ");
}

void foreign(fuzz::Bytes in) {
    while (!in.empty()) {
        const std::string message = in.text();
        try {
            const auto row = postgres::row_of_message(message);
            if (!row)
                continue;
            hold(std::string_view(message).ends_with(*row), "a row is the end of its message");
            const Event event = outbox::decode_event(*row);
            const std::size_t fixed = 9 * 4 + 8 + 16 + 8 + 1 + (event.partition == -1 ? 0 : 4);
            const std::size_t used = fixed + event.topic.size() + event.size();
            // A partition that stands there as -1 takes four bytes more than NULL.
            hold(used == row->size() || (event.partition == -1 && used + 4 == row->size()),
                 "every byte of a row belongs to a column");
        } catch (const SessionLost &) {
        }
    }
}

void run(std::string_view input) {
    if (input.starts_with('E'))
        ours(fuzz::Bytes(input.substr(1)));
    else
        foreign(fuzz::Bytes(input));
}

} // namespace

ONCE_FUZZ_TARGET("copy", run)
