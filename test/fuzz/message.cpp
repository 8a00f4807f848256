// A message of Kafka on its way into the database: id, source and headers out of any bytes.
#include "relay/inbox/message.hpp"

#include "test/fuzz/target.hpp"

#include <nlohmann/json.hpp>

#include <set>

using namespace once::inbox;
using once::fuzz::hold;

namespace {

// What PostgreSQL takes as text: UTF-8 (the library checks it when it writes) and no NUL.
bool is_database_text(const std::string &text) {
    try {
        static_cast<void>(nlohmann::json(text).dump());
    } catch (const nlohmann::json::exception &) {
        return false;
    }
    return text.find('\0') == std::string::npos;
}

void check_headers(const Message &message) {
    const auto text = headers_json(message.headers);
    std::size_t expected = 0;
    for (const Header &header : message.headers)
        expected += !header.name.starts_with("once-");
    hold(text.has_value() == (expected != 0), "no object without headers");
    if (!text)
        return;
    hold(is_database_text(*text), "headers are text");
    std::set<std::string> names;
    std::size_t values = 0;
    const auto object = nlohmann::ordered_json::parse(
        *text,
        [&](int depth, nlohmann::ordered_json::parse_event_t event, nlohmann::ordered_json &part) {
            if (depth == 1 && event == nlohmann::ordered_json::parse_event_t::key)
                hold(names.insert(part.get<std::string>()).second, "a name comes once");
            return true;
        });
    hold(object.is_object(), "headers are an object");
    for (const auto &[name, value] : object.items())
        values += value.is_array() ? value.size() : 1;
    hold(values == expected, "every value of the application is there");
}

void check_identity(const Message &message, const IdentityRule &rule) {
    const Identity identity = identify(message, rule, message.topic);
    const std::string place = std::string(message.topic) + "/" + std::to_string(message.partition);
    hold(is_database_text(identity.id) && is_database_text(identity.source), "ids are text");
    hold(!identity.id.empty() && identity.id.size() <= 1024, "1 to 1024 bytes");
    hold(identity.source.ends_with(place), "positions count within a partition");
    hold(identity.position >= 0, "never negative");
    if (!identity.from_sender)
        hold(identity.id == place + "/" + std::to_string(message.offset), "known by its place");
}

void check_text(const std::string &bytes) {
    const std::string text = as_text(bytes);
    hold(is_database_text(text), "any bytes become text");
    hold(as_text(text) == text, "text stays");
    const auto uuid = uuid_bytes(bytes);
    hold(!uuid || (uuid->size() == 16 && bytes.find_first_of("ABCDEF") == bytes.npos),
         "canonical spelling alone");
}

void run(std::string_view input) {
    once::fuzz::Bytes in(input);
    Message message;
    message.topic = "orders";
    message.partition = in.number<std::uint8_t>();
    message.offset = in.number<std::int64_t>() & INT64_MAX;
    IdentityRule rule;
    if (in.flag())
        rule.headers = {in.text()};
    if (in.flag())
        rule.paths = {"/" + in.text()};
    std::vector<std::string> kept; // names and values, each in memory of its own
    std::vector<bool> null;
    for (int count = in.number<std::uint8_t>() % 8; count > 0; --count) {
        kept.push_back(in.text());
        null.push_back(in.flag());
        kept.push_back(in.text());
    }
    for (std::size_t i = 0; i < null.size(); ++i) {
        message.headers.push_back({kept[2 * i], std::nullopt});
        if (!null[i])
            message.headers.back().value = kept[2 * i + 1];
    }
    const auto time = time_of(in.number<std::int64_t>());
    hold(!time || (*time >= 0 && __int128{*time - 946684800000} * 1000 < 9223371331200000000),
         "a time that timestamptz has");
    const std::string payload = in.all();
    message.payload = payload;
    check_identity(message, rule);
    check_headers(message);
    check_text(payload);
}

} // namespace

ONCE_FUZZ_TARGET("message", run)
