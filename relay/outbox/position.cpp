#include "relay/outbox/position.hpp"

#include "relay/outbox/event.hpp"
#include "relay/process/whole_number.hpp"
#include "extension/wire/snapshot.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <ctime>

namespace once::outbox {
namespace {

using Json = nlohmann::ordered_json;

template <typename Number> Number number(const Json &value, const char *name) {
    if (const auto parsed = whole_number<Number>(value.get_ref<const std::string &>()))
        return *parsed;
    throw UnreadablePosition(std::string("member \"") + name + "\" is not a number");
}

// A number where JSON has one: whole, without a sign, and not cut down to what fits.
std::uint32_t plain_number(const Json &value, const char *name) {
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > UINT32_MAX)
        throw UnreadablePosition(std::string("member \"") + name + "\" is not a 32-bit number");
    return value.get<std::uint32_t>();
}

// As PostgreSQL writes it: two halves of 1 to 8 hexadecimal digits.
std::string lsn_text(const Json &value) {
    auto text = value.get<std::string>();
    const std::string_view view = text;
    const std::size_t slash = std::min(view.find('/'), view.size());
    for (const std::string_view half :
         {view.substr(0, slash), view.substr(slash).substr(slash < view.size())})
        if (half.empty() || half.size() > 8 ||
            half.find_first_not_of("0123456789ABCDEFabcdef") != std::string_view::npos)
            throw UnreadablePosition("member \"lsn\" is not a WAL position");
    return text;
}

std::string uuid_text(const Json &value, const char *name) {
    auto text = value.get<std::string>();
    if (!uuid_from_text(text))
        throw UnreadablePosition(std::string("member \"") + name + "\" is not a uuid");
    return text;
}

const Json *optional_member(const Json &json, const char *name) {
    const auto found = json.find(name);
    if (found == json.end())
        throw UnreadablePosition(std::string("member \"") + name + "\" is missing");
    return found->is_null() ? nullptr : &*found;
}

const Json &member(const Json &json, const char *name) {
    const Json *value = optional_member(json, name);
    if (value == nullptr)
        throw UnreadablePosition(std::string("member \"") + name + "\" is null");
    return *value;
}

std::string snapshot_text(const Json &value, const char *name) {
    auto text = value.get<std::string>();
    if (!wire::parse_snapshot(text))
        throw UnreadablePosition(std::string("member \"") + name + "\" is not a snapshot");
    return text;
}

Json text_or_null(const std::optional<std::int64_t> &value) {
    return value ? Json(std::to_string(*value)) : Json(nullptr);
}
Json text_or_null(const std::optional<std::string> &value) {
    return value ? Json(*value) : Json(nullptr);
}

Position decode(const Json &json) {
    if (!json.is_object())
        throw UnreadablePosition("not a JSON object");
    if (const auto format = plain_number(member(json, "format"), "format");
        format != kPositionFormat)
        throw UnreadablePosition("format " + std::to_string(format) + " is not known");
    Position p;
    p.incarnation = uuid_text(member(json, "incarnation"), "incarnation");
    p.database_oid = plain_number(member(json, "database_oid"), "database_oid");
    p.system_identifier = std::to_string(
        number<std::uint64_t>(member(json, "system_identifier"), "system_identifier"));
    p.timeline = plain_number(member(json, "timeline"), "timeline");
    p.lsn = lsn_text(member(json, "lsn"));
    if (const Json *value = optional_member(json, "s_prev"))
        p.s_prev = snapshot_text(*value, "s_prev");
    p.s_now = snapshot_text(member(json, "s_now"), "s_now");
    if (const Json *value = optional_member(json, "slice_seq"))
        p.slice_seq = number<std::int64_t>(*value, "slice_seq");
    if (const Json *value = optional_member(json, "last_seq"))
        p.last_seq = number<std::int64_t>(*value, "last_seq");
    if (const Json *value = optional_member(json, "last_id"))
        p.last_id = uuid_text(*value, "last_id");
    p.redrive_no = number<std::int64_t>(member(json, "redrive_no"), "redrive_no");
    if (const Json *value = optional_member(json, "mode"))
        p.mode = value->get<std::string>();
    p.counter = number<std::int64_t>(member(json, "counter"), "counter");
    p.time = member(json, "time").get<std::string>();
    if (p.slice_seq && !p.s_prev)
        throw UnreadablePosition("a slice without the snapshot it starts from");
    if (p.last_seq.has_value() != p.last_id.has_value())
        throw UnreadablePosition("last_seq and last_id do not go together");
    if (p.counter < 0 || p.redrive_no < 0)
        throw UnreadablePosition("negative counter");
    return p;
}

} // namespace

std::string encode(const Position &p) {
    Json json;
    json["format"] = kPositionFormat;
    json["incarnation"] = p.incarnation;
    json["database_oid"] = p.database_oid;
    json["system_identifier"] = p.system_identifier;
    json["timeline"] = p.timeline;
    json["lsn"] = p.lsn;
    json["s_prev"] = text_or_null(p.s_prev);
    json["s_now"] = p.s_now;
    json["slice_seq"] = text_or_null(p.slice_seq);
    json["last_seq"] = text_or_null(p.last_seq);
    json["last_id"] = text_or_null(p.last_id);
    json["redrive_no"] = std::to_string(p.redrive_no);
    json["mode"] = text_or_null(p.mode);
    json["counter"] = std::to_string(p.counter);
    json["time"] = p.time;
    return json.dump();
}

Position decode_position(std::string_view text) {
    try {
        return decode(Json::parse(text));
    } catch (const nlohmann::json::exception &e) {
        throw UnreadablePosition(e.what());
    }
}

std::optional<std::int64_t> time_ms(const Position &p) {
    std::tm parts{};
    const char *end = ::strptime(p.time.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    if (end == nullptr || *end != '\0')
        return std::nullopt;
    return static_cast<std::int64_t>(::timegm(&parts)) * 1000;
}

std::optional<std::string> regression(const Position &last, const Position &next) {
    if (next.counter < last.counter)
        return "counter " + std::to_string(next.counter) + " after " + std::to_string(last.counter);
    if (next.redrive_no < last.redrive_no)
        return "redrive number " + std::to_string(next.redrive_no) + " after " +
               std::to_string(last.redrive_no);
    const auto before = wire::parse_snapshot(last.s_now), after = wire::parse_snapshot(next.s_now);
    if (before && after && after->end() < before->end())
        return "snapshot " + next.s_now + " after " + last.s_now;
    return std::nullopt;
}

} // namespace once::outbox
