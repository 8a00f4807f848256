// The column `headers`, which the relay takes apart again, and the rule for names.
#include "extension/wire/column_headers.hpp"

#include "test/fuzz/target.hpp"

using namespace once::wire;
using once::fuzz::hold;

namespace {

// As the sink walks through them: what is left is always the end of what was there.
void walk(std::string_view bytes) {
    std::string_view rest = bytes;
    Header header;
    while (!rest.empty()) {
        const std::string_view before = rest;
        if (!next_header(rest, header)) {
            hold(rest == before, "what is no header stays");
            return;
        }
        hold(rest.size() < before.size() && before.ends_with(rest), "one header less");
        hold(before.size() - rest.size() == encoded_size(header.first, header.second), "its size");
    }
}

void foreign(const std::string &bytes) {
    walk(bytes);
    const auto headers = decode_headers(bytes);
    if (headers)
        hold(encode_headers(*headers) == bytes, "decoded and encoded again");
}

void ours(once::fuzz::Bytes in) {
    std::vector<std::pair<std::string, std::optional<std::string>>> texts;
    while (!in.empty()) {
        std::string name = in.text(), value = in.text();
        texts.emplace_back(name, value == "null" ? std::nullopt : std::optional(value));
    }
    const std::vector<Header> headers(texts.begin(), texts.end());
    const std::string bytes = encode_headers(headers);
    hold(decode_headers(bytes) == headers, "decode(encode(x)) is x");
    for (const auto &[name, value] : headers) {
        const bool control = name.find_first_of(std::string_view("\0\n\x1f\x7f", 4)) != name.npos;
        const bool bad = name.empty() || name.size() > 255 || name.starts_with("once-") || control;
        hold(!bad || check_header_name(name) != HeaderFault::none, "a bad name is refused");
    }
}

void run(std::string_view input) {
    if (input.starts_with("\1"))
        ours(once::fuzz::Bytes(input.substr(1)));
    else
        foreign(std::string(input));
}

} // namespace

ONCE_FUZZ_TARGET("headers", run)
