#include "relay/inbox/message.hpp"

#include "extension/wire/message_headers.hpp"
#include "relay/inbox/json_ids.hpp"
#include "relay/process/whole_number.hpp"

#include <algorithm>

namespace once::inbox {
namespace {

constexpr std::size_t kMostIdBytes = 1024;              // once.inbox takes no longer ones
constexpr std::int64_t kEndOfTimeMs = 9224318016000000; // first day of 294277, as PostgreSQL has it
constexpr char kHex[] = "0123456789abcdef";

// Length of the well-formed UTF-8 sequence at the front (shortest form, no surrogates, at most
// U+10FFFF, as PostgreSQL checks it); 0 = malformed or NUL.
std::size_t sequence_length(std::string_view text) {
    const auto byte = [&](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
    };
    const auto follows = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
        return byte(i) >= low && byte(i) <= high;
    };
    const unsigned lead = byte(0);
    if (lead >= 0x01 && lead <= 0x7f)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        return follows(1) ? 2 : 0;
    if (lead >= 0xe0 && lead <= 0xef)
        return follows(1, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf) && follows(2) ? 3
                                                                                                : 0;
    if (lead >= 0xf0 && lead <= 0xf4)
        return follows(1, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf) && follows(2) &&
                       follows(3)
                   ? 4
                   : 0;
    return 0;
}

void append_hex(std::string &text, std::string_view bytes) {
    for (const char c : bytes) {
        text += kHex[static_cast<unsigned char>(c) >> 4];
        text += kHex[static_cast<unsigned char>(c) & 15];
    }
}

bool is_text(std::string_view bytes) {
    while (!bytes.empty()) {
        const std::size_t length = sequence_length(bytes);
        if (length == 0)
            return false;
        bytes.remove_prefix(length);
    }
    return true;
}

void append_json_string(std::string &json, std::string_view bytes) {
    json += '"';
    for (const char c : as_text(bytes)) {
        const auto code = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            json += '\\';
            json += c;
        } else if (code < 0x20) {
            json += "\\u00";
            json += kHex[code >> 4];
            json += kHex[code & 15];
        } else {
            json += c;
        }
    }
    json += '"';
}

// As publish takes it: what is no text is marked, so that it goes out again as the bytes it was.
void append_json_value(std::string &json, const std::optional<std::string_view> &value) {
    if (!value) {
        json += "null";
    } else if (is_text(*value)) {
        append_json_string(json, *value);
    } else {
        json += "{\"$bytes\": \"";
        append_hex(json, *value);
        json += "\"}";
    }
}

const Header *last_header(const Message &message, std::string_view name) {
    // Kafka's own rule: of several headers with one name the last counts.
    for (auto header = message.headers.rbegin(); header != message.headers.rend(); ++header)
        if (header->name == name && header->value)
            return &*header;
    return nullptr;
}

// Whether the once- headers were copied from a message of another topic: then they say nothing
// about this one.
bool is_copy(const Message &message) {
    const Header *shipped_to = last_header(message, wire::kTopicHeader);
    return shipped_to != nullptr && *shipped_to->value != message.topic;
}

using Parts = std::vector<std::string>;

Parts at_paths(const Message &message, const IdentityRule &rule) {
    Parts parts;
    if (rule.paths.empty() || !message.payload)
        return parts;
    for (const std::optional<std::string> &part : json_ids(*message.payload, rule.paths)) {
        if (!part || part->empty())
            return {};
        parts.push_back(as_text(*part)); // JSON has strings with a NUL
    }
    return parts;
}

Parts in_headers(const Message &message, const IdentityRule &rule, bool copied) {
    Parts parts;
    for (const std::string &name : rule.headers) {
        const Header *header = last_header(message, name);
        if (header == nullptr || header->value->empty() || (copied && wire::is_once_header(name)))
            return {};
        parts.push_back(as_text(*header->value));
    }
    return parts;
}

// One part is the id as it is; several are a JSON array, so that no two lists are the same text.
std::string id_of(const Parts &parts, const IdentityRule &rule, std::string_view topic) {
    if (parts.size() == 1 && !rule.with_topic)
        return parts.front();
    std::string id = "[";
    if (rule.with_topic)
        append_json_string(id, topic);
    for (const std::string &part : parts) {
        id += id.size() > 1 ? "," : "";
        append_json_string(id, part);
    }
    return id + "]";
}

std::optional<std::int64_t> number(std::string_view text) {
    const auto value = whole_number<std::int64_t>(text);
    return value && *value >= 0 ? value : std::nullopt;
}

} // namespace

std::size_t Message::bytes() const {
    std::size_t sum = (key ? key->size() : 0) + (payload ? payload->size() : 0);
    for (const Header &header : headers)
        sum += header.name.size() + (header.value ? header.value->size() : 0);
    return sum;
}

Identity identify(const Message &message, const IdentityRule &rule, std::string_view name) {
    Identity identity;
    const std::string number_of_partition = "/" + std::to_string(message.partition);
    const std::string place = std::string(name) + number_of_partition;
    const bool copied = is_copy(message);
    const Header *source = copied ? nullptr : last_header(message, wire::kSourceHeader);
    const Header *position = last_header(message, wire::kPositionHeader);
    const auto counter = position ? number(*position->value) : std::nullopt;
    if (source != nullptr && counter) {
        identity.source =
            as_text(*source->value) + "/" + std::string(message.topic) + number_of_partition;
        identity.position = *counter;
    } else {
        identity.source = place;
        identity.position = message.offset;
    }
    Parts parts = at_paths(message, rule);
    if (parts.empty())
        parts = in_headers(message, rule, copied);
    if (!parts.empty())
        identity.id = id_of(parts, rule, message.topic);
    identity.from_sender = !parts.empty() && identity.id.size() <= kMostIdBytes;
    identity.missing = !identity.from_sender && (rule.asked() || copied || !parts.empty());
    if (!identity.from_sender)
        identity.id = place + "/" + std::to_string(message.offset);
    return identity;
}

std::string as_text(std::string_view bytes) {
    if (is_text(bytes))
        return std::string(bytes);
    std::string text = "\\x";
    append_hex(text, bytes);
    return text;
}

std::optional<std::string> headers_json(const std::vector<Header> &headers) {
    std::vector<std::pair<std::string, const Header *>> left;
    for (const Header &header : headers)
        if (!wire::is_once_header(header.name))
            left.emplace_back(as_text(header.name), &header);
    if (left.empty())
        return std::nullopt;
    std::string json = "{";
    while (!left.empty()) {
        // By what they are as text: jsonb would keep the last of two that became one.
        const std::string name = left.front().first;
        const auto same = std::stable_partition(
            left.begin(), left.end(), [&](const auto &header) { return header.first == name; });
        json += json.size() == 1 ? "" : ", ";
        append_json_string(json, name);
        json += same - left.begin() > 1 ? ": [" : ": ";
        for (auto value = left.begin(); value != same; ++value) {
            json += value == left.begin() ? "" : ", ";
            append_json_value(json, value->second->value);
        }
        json += same - left.begin() > 1 ? "]" : "";
        left.erase(left.begin(), same);
    }
    return json + "}";
}

std::optional<std::int64_t> time_of(std::int64_t unix_ms) {
    if (unix_ms < 0 || unix_ms >= kEndOfTimeMs)
        return std::nullopt;
    return unix_ms;
}

std::optional<std::string> uuid_bytes(std::string_view text) {
    if (text.size() != 36)
        return std::nullopt;
    std::string bytes;
    int digits = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-')
                return std::nullopt;
            continue;
        }
        unsigned digit = 0;
        if (text[i] >= '0' && text[i] <= '9')
            digit = static_cast<unsigned>(text[i] - '0');
        else if (text[i] >= 'a' && text[i] <= 'f')
            digit = static_cast<unsigned>(text[i] - 'a' + 10);
        else
            return std::nullopt; // capitals too: as text they would be another id
        if (digits++ % 2 == 0)
            bytes.push_back(static_cast<char>(digit << 4));
        else
            bytes.back() = static_cast<char>(static_cast<unsigned char>(bytes.back()) | digit);
    }
    return bytes;
}

} // namespace once::inbox
