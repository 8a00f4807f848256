#include "outbox/event.hpp"

#include "errors.hpp"
#include "pg/memory.hpp"
#include "settings.hpp"
#include "wire/column_headers.hpp"
#include "wire/lane_of.hpp"
#include "wire/names.hpp"

#include <array>

extern "C" {
#include <lib/stringinfo.h>
#include <mb/pg_wchar.h>
#include <utils/fmgrprotos.h>
#include <utils/jsonb.h>
#include <utils/numeric.h>
}

namespace once {
namespace {

// Bytes in the database's encoding as UTF-8; the same bytes where the database is UTF-8. Within
// pg::call. 22P05, 22021 when a character cannot be converted.
std::string_view utf8(std::string_view text) {
    if (GetDatabaseEncoding() == PG_UTF8)
        return text;
    char *source = const_cast<char *>(text.data());
    const char *converted = pg_server_to_any(source, static_cast<int>(text.size()), PG_UTF8);
    return converted == source ? text : std::string_view(converted);
}

struct HeaderList {
    size_t count = 0; // may be more than fit: then only the number is of interest
    std::array<wire::Header, wire::kMaxHeaders> item;
    bool flat = true; // an object of strings
};

void read_headers(Jsonb *object, HeaderList &list) {
    if (!JB_ROOT_IS_OBJECT(object)) {
        list.flat = false;
        return;
    }
    list.count = JB_ROOT_COUNT(object);
    if (list.count > wire::kMaxHeaders)
        return;
    JsonbIterator *iterator = JsonbIteratorInit(&object->root);
    JsonbValue value;
    JsonbIteratorToken token;
    size_t at = 0;
    while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE) {
        if (token != WJB_KEY && token != WJB_VALUE)
            continue;
        if (value.type != jbvString) {
            list.flat = false;
            return;
        }
        const std::string_view text =
            utf8({value.val.string.val, static_cast<size_t>(value.val.string.len)});
        (token == WJB_KEY ? list.item[at].first : list.item[at].second) = text;
        at += token == WJB_VALUE;
    }
}

void check_headers(const HeaderList &list) {
    const auto refuse = [](std::string message, std::string detail = "") {
        throw pg::Failure{kInvalidHeader, std::move(message), std::move(detail)};
    };
    if (!list.flat)
        refuse("headers must be a flat jsonb object of strings");
    if (list.count > wire::kMaxHeaders)
        refuse("too many headers: " + std::to_string(list.count),
               "At most " + std::to_string(wire::kMaxHeaders) + " are allowed.");
    for (size_t i = 0; i < list.count; ++i) {
        const std::string name(list.item[i].first);
        switch (wire::check_header_name(name)) {
        case wire::HeaderFault::none:
            break;
        case wire::HeaderFault::reserved_name:
            refuse("header name \"" + name + "\" is reserved",
                   "Names that begin with \"once-\" are given by the relay.");
            break;
        case wire::HeaderFault::count:
        case wire::HeaderFault::empty_name:
        case wire::HeaderFault::long_name:
        case wire::HeaderFault::control_character:
            refuse("invalid header name", "A name is 1 to 255 bytes without control characters.");
        }
    }
}

// Null when there are none. Checked with the same rules wherever headers come in.
Datum encode(Datum headers, bool &has_any) {
    HeaderList list;
    pg::call([&] { read_headers(DatumGetJsonbP(headers), list); });
    check_headers(list);
    has_any = list.count > 0;
    if (!has_any)
        return 0;
    size_t size = 0;
    for (size_t i = 0; i < list.count; ++i)
        size += wire::encoded_size(list.item[i].first, list.item[i].second);
    auto *bytes = pg::call([&] { return static_cast<bytea *>(palloc(VARHDRSZ + size)); });
    SET_VARSIZE(bytes, VARHDRSZ + size);
    char *at = VARDATA(bytes);
    for (size_t i = 0; i < list.count; ++i)
        at = wire::encode_header(at, list.item[i].first, list.item[i].second);
    return PointerGetDatum(bytes);
}

// Characters that a number has when it is written out, at least.
size_t written_size(Numeric number) {
    bytea *wire = DatumGetByteaPP(DirectFunctionCall1(numeric_send, NumericGetDatum(number)));
    const auto *data = reinterpret_cast<const unsigned char *>(VARDATA_ANY(wire));
    const int weight = static_cast<int16_t>(data[2] << 8 | data[3]); // of groups of four digits
    const int scale = data[6] << 8 | data[7];
    pfree(wire);
    return static_cast<size_t>(weight > 0 ? 4 * weight : 0) + static_cast<size_t>(scale);
}

// {"a": 1e131071} is 15 bytes, and 131 kB when it is written: 100 kB of such numbers would fill the
// memory before anybody looks at the size. Small documents are not worth the look.
bool explodes(Jsonb *json, size_t max_bytes) {
    constexpr size_t kHarmless = 1024;
    if (VARSIZE(json) < kHarmless)
        return false;
    JsonbIterator *iterator = JsonbIteratorInit(&json->root);
    JsonbValue value;
    JsonbIteratorToken token;
    size_t written = 0;
    while (written <= max_bytes &&
           (token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
        if ((token == WJB_VALUE || token == WJB_ELEM) && value.type == jbvNumeric)
            written += written_size(value.val.numeric);
    return written > max_bytes;
}

// jsonb is written behind room for a varlena header, so that its text need not be copied again.
Datum json_payload(Datum payload) {
    Jsonb *json = DatumGetJsonbP(payload);
    StringInfoData out;
    initStringInfo(&out);
    appendStringInfoSpaces(&out, VARHDRSZ);
    JsonbToCString(&out, &json->root, static_cast<int>(VARSIZE(json)));
    SET_VARSIZE(out.data, out.len);
    return PointerGetDatum(out.data);
}

Datum in_utf8(Datum varlena) {
    if (GetDatabaseEncoding() == PG_UTF8)
        return varlena;
    auto *value = DatumGetTextPP(varlena);
    const std::string_view bytes =
        utf8({VARDATA_ANY(value), static_cast<size_t>(VARSIZE_ANY_EXHDR(value))});
    return PointerGetDatum(cstring_to_text_with_len(bytes.data(), static_cast<int>(bytes.size())));
}

size_t size_of(Datum varlena) {
    return VARSIZE_ANY_EXHDR(DatumGetPointer(varlena));
}

std::string_view bytes_at(Datum varlena) {
    return {VARDATA_ANY(DatumGetPointer(varlena)), size_of(varlena)};
}

[[noreturn]] void refuse_size(const std::string &bytes, const Topic &topic) {
    throw pg::Failure{kEventTooLarge, "event is too large: " + bytes + " bytes",
                      "Topic \"" + std::string(topic.name) + "\" takes up to " +
                          std::to_string(topic.max_bytes) + " bytes of key, payload and headers."};
}

} // namespace

Topic check_topic(const Lanes &known, bool is_null, Datum topic) {
    if (is_null)
        throw pg::Failure{ERRCODE_NULL_VALUE_NOT_ALLOWED, "topic must not be null"};
    Topic checked;
    checked.datum = pg::call([&] { return PointerGetDatum(DatumGetTextPP(topic)); });
    checked.name = bytes_at(checked.datum);
    if (!wire::valid_topic(checked.name))
        throw pg::Failure{kInvalidTopic, "invalid topic name",
                          "A topic is 1 to 249 of A-Z a-z 0-9 . _ - and neither \".\" nor \"..\"."};
    if (wire::reserved_topic(checked.name))
        throw pg::Failure{kInvalidTopic, "topic \"" + std::string(checked.name) + "\" is reserved",
                          "It belongs to Kafka or to the relay."};
    checked.max_bytes = static_cast<size_t>(settings::max_event_bytes);
    checked.max_backlog = settings::max_backlog;
    const auto declared = known.topic.empty() ? known.topic.end() : known.topic.find(checked.name);
    if (declared == known.topic.end()) {
        if (settings::strict_topics)
            throw pg::Failure{kInvalidTopic,
                              "topic \"" + std::string(checked.name) + "\" is not declared",
                              "once.strict_topics is on.", "Declare it by once.topic_set."};
        return checked;
    }
    if (declared->second.max_bytes > 0)
        checked.max_bytes = static_cast<size_t>(declared->second.max_bytes);
    if (declared->second.max_backlog > 0)
        checked.max_backlog = declared->second.max_backlog;
    return checked;
}

void set_payload(Event &event, Form form, Datum payload, const Topic &topic) {
    event.has_payload = true;
    if (form == Form::json) {
        payload = pg::call([&] { return JsonbPGetDatum(DatumGetJsonbP(payload)); });
        if (pg::call([&] { return explodes(DatumGetJsonbP(payload), topic.max_bytes); }))
            refuse_size("more than " + std::to_string(topic.max_bytes), topic);
    }
    event.payload = pg::call([&] {
        switch (form) {
        case Form::json:
            return in_utf8(json_payload(payload));
        case Form::text:
            return in_utf8(PointerGetDatum(DatumGetTextPP(payload)));
        case Form::bytes:
            break;
        }
        return PointerGetDatum(DatumGetByteaPP(payload));
    });
    event.bytes += size_of(event.payload);
}

void set_key(Event &event, Datum key) {
    event.has_key = true;
    event.key = pg::call([&] { return PointerGetDatum(DatumGetTextPP(key)); });
    if (size_of(event.key) > wire::kMaxKeyBytes)
        throw pg::Failure{kEventTooLarge,
                          "key is too long: " + std::to_string(size_of(event.key)) + " bytes",
                          "At most " + std::to_string(wire::kMaxKeyBytes) + " are allowed."};
    event.bytes += size_of(event.key);
}

void set_headers(Event &event, Datum headers) {
    event.headers = encode(headers, event.has_headers);
    if (event.has_headers)
        event.bytes += size_of(event.headers);
}

void set_partition(Event &event, int partition) {
    if (partition < 0)
        throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "partition must not be negative"};
    event.has_partition = true;
    event.partition = partition;
}

void finish(Event &event, const Topic &topic, const Lanes &known) {
    event.topic = topic.datum;
    if (event.bytes > topic.max_bytes)
        refuse_size(std::to_string(event.bytes), topic);
    const int lanes = static_cast<int>(known.lane.size());
    const bool convert = GetDatabaseEncoding() != PG_UTF8;
    if (lanes > 1 || convert) {
        // Converted even for one lane: a key that is no UTF-8 could never be sent.
        std::string_view key = topic.name;
        if (event.has_key)
            key =
                convert ? pg::call([&] { return utf8(bytes_at(event.key)); }) : bytes_at(event.key);
        event.lane = wire::lane_of(key, lanes);
    }
    event.sequence = known.lane[static_cast<size_t>(event.lane)].sequence;
}

} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_headers_bytes);
PGDLLEXPORT Datum once_headers_bytes(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        bool has_any = false;
        const Datum bytes = once::encode(PG_GETARG_DATUM(0), has_any);
        fcinfo->isnull = !has_any;
        return bytes;
    });
}

PG_FUNCTION_INFO_V1(once_headers_json);
PGDLLEXPORT Datum once_headers_json(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        std::string_view rest = pg::bytes_of(PG_GETARG_DATUM(0));
        JsonbParseState *state = nullptr;
        pg::call([&] { pushJsonbValue(&state, WJB_BEGIN_OBJECT, nullptr); });
        once::wire::Header header;
        while (!rest.empty()) {
            if (!once::wire::next_header(rest, header))
                throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "these bytes are no headers"};
            pg::call([&] {
                const auto push = [&](JsonbIteratorToken token, std::string_view text) {
                    JsonbValue value;
                    value.type = jbvString;
                    char *copy = pnstrdup(text.data(), text.size());
                    char *local = pg_any_to_server(copy, static_cast<int>(text.size()), PG_UTF8);
                    value.val.string.val = local;
                    value.val.string.len = static_cast<int>(strlen(local));
                    pushJsonbValue(&state, token, &value);
                };
                push(WJB_KEY, header.first);
                push(WJB_VALUE, header.second);
            });
        }
        return pg::call([&] {
            return PointerGetDatum(
                JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, nullptr)));
        });
    });
}

} // extern "C"
