#include "outbox/event_headers.hpp"

#include "errors.hpp"
#include "pg/encoding.hpp"
#include "pg/memory.hpp"
#include "wire/column_headers.hpp"

#include <algorithm>
#include <array>

extern "C" {
#include <utils/fmgrprotos.h>
#include <utils/jsonb.h>
#include <utils/numeric.h>
}

namespace once {
namespace {

enum class Shape { fits, no_object, bad_value, bad_bytes };

struct HeaderList {
    size_t count = 0; // may be more than fit: then only the number is of interest
    std::array<wire::Header, wire::kMaxHeaders> item;
    Shape shape = Shape::fits;
};

constexpr std::string_view kBytesMark = "$bytes";

std::string_view text_of(const JsonbValue &string) {
    return {string.val.string.val, static_cast<size_t>(string.val.string.len)};
}

// The bytes that hexadecimal digits stand for; false: they are none.
bool decode_hex(std::string_view digits, std::string_view &bytes) {
    const auto value_of = [](char c) {
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                      : -1;
    };
    if (digits.size() % 2 != 0)
        return false;
    auto *out = static_cast<char *>(palloc(digits.size() / 2 + 1));
    for (size_t i = 0; i < digits.size(); i += 2) {
        const int high = value_of(digits[i]), low = value_of(digits[i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i / 2] = static_cast<char>(high << 4 | low);
    }
    bytes = {out, digits.size() / 2};
    return true;
}

// {"$bytes": "00ff"}: a value that is no text.
Shape marked_bytes(JsonbContainer *object, std::string_view &bytes) {
    JsonbIterator *iterator = JsonbIteratorInit(object);
    JsonbValue name, value;
    if (JsonContainerSize(object) != 1)
        return Shape::bad_value;
    JsonbIteratorNext(&iterator, &value, true); // the object's own begin
    JsonbIteratorNext(&iterator, &name, true);
    JsonbIteratorNext(&iterator, &value, true);
    if (text_of(name) != kBytesMark)
        return Shape::bad_value;
    return value.type == jbvString && decode_hex(text_of(value), bytes) ? Shape::fits
                                                                        : Shape::bad_bytes;
}

// A header's value; numbers and booleans as JSON writes them.
Shape header_value(const JsonbValue &json, wire::HeaderValue &value) {
    std::string_view bytes;
    Shape shape = Shape::fits;
    switch (json.type) {
    case jbvNull:
        value = std::nullopt;
        return shape;
    case jbvString:
        value = pg::utf8(text_of(json));
        return shape;
    case jbvBool:
        value = json.val.boolean ? "true" : "false";
        return shape;
    case jbvNumeric:
        value =
            DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(json.val.numeric)));
        return shape;
    case jbvBinary:
        if (!JsonContainerIsObject(json.val.binary.data))
            return Shape::bad_value; // an array in an array
        shape = marked_bytes(json.val.binary.data, bytes);
        value = bytes;
        return shape;
    default:
        return Shape::bad_value;
    }
}

void add_header(HeaderList &list, std::string_view name, const JsonbValue &json) {
    wire::HeaderValue value;
    if (const Shape shape = header_value(json, value); shape != Shape::fits)
        list.shape = shape;
    if (list.count < wire::kMaxHeaders)
        list.item[list.count] = {name, value};
    ++list.count;
}

// An array is a header that is there several times.
void read_header(HeaderList &list, std::string_view name, const JsonbValue &json) {
    if (json.type != jbvBinary || !JsonContainerIsArray(json.val.binary.data)) {
        add_header(list, name, json);
        return;
    }
    JsonbIterator *iterator = JsonbIteratorInit(json.val.binary.data);
    JsonbValue value;
    JsonbIteratorToken token;
    while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
        if (token == WJB_ELEM)
            add_header(list, name, value);
}

void read_headers(Jsonb *object, HeaderList &list) {
    if (!JB_ROOT_IS_OBJECT(object)) {
        list.shape = Shape::no_object;
        return;
    }
    JsonbIterator *iterator = JsonbIteratorInit(&object->root);
    JsonbValue value;
    JsonbIteratorToken token;
    std::string_view name;
    while (list.shape == Shape::fits &&
           (token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE) {
        if (token == WJB_KEY)
            name = pg::utf8(text_of(value));
        else if (token == WJB_VALUE)
            read_header(list, name, value);
    }
}

void check_headers(const HeaderList &list, const char *hint) {
    const auto refuse = [hint](std::string message, std::string detail = "") {
        throw pg::Failure{kInvalidHeader, std::move(message), std::move(detail), hint};
    };
    switch (list.shape) {
    case Shape::fits:
        break;
    case Shape::no_object:
        refuse("headers must be a jsonb object");
        break;
    case Shape::bad_value:
        refuse("invalid value of a header",
               "A value is a string, number, boolean, null, {\"$bytes\": hex digits} or an array "
               "of these.");
        break;
    case Shape::bad_bytes:
        refuse("invalid value of a header", "$bytes takes an even number of hexadecimal digits.");
    }
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

} // namespace

// Checked with the same rules wherever headers come in.
Datum encode_headers(Datum headers, bool &has_any, const char *hint) {
    HeaderList list;
    pg::call([&] { read_headers(DatumGetJsonbP(headers), list); });
    check_headers(list, hint);
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

namespace {

void push_string(JsonbParseState **state, JsonbIteratorToken token, std::string_view text) {
    JsonbValue value;
    value.type = jbvString;
    value.val.string.val = pnstrdup(text.data(), text.size());
    value.val.string.len = static_cast<int>(text.size());
    pushJsonbValue(state, token, &value);
}

void push_value(JsonbParseState **state, JsonbIteratorToken token, const wire::HeaderValue &bytes) {
    if (!bytes) {
        JsonbValue null;
        null.type = jbvNull;
        pushJsonbValue(state, token, &null);
    } else if (pg_verify_mbstr(PG_UTF8, bytes->data(), static_cast<int>(bytes->size()), true)) {
        push_string(state, token, pg::from_utf8(*bytes));
    } else {
        auto *digits = static_cast<char *>(palloc(2 * bytes->size() + 1));
        hex_encode(bytes->data(), bytes->size(), digits);
        pushJsonbValue(state, WJB_BEGIN_OBJECT, nullptr);
        push_string(state, WJB_KEY, kBytesMark);
        push_string(state, WJB_VALUE, {digits, 2 * bytes->size()});
        pushJsonbValue(state, WJB_END_OBJECT, nullptr);
    }
}

// What read_headers takes apart, put together again. Within pg::call.
Datum json_of(const wire::Header *header, size_t count) {
    JsonbParseState *state = nullptr;
    pushJsonbValue(&state, WJB_BEGIN_OBJECT, nullptr);
    for (size_t i = 0; i < count; ++i) {
        const auto same = [&](const wire::Header &other) { return other.first == header[i].first; };
        if (std::any_of(header, header + i, same))
            continue;
        push_string(&state, WJB_KEY, pg::from_utf8(header[i].first));
        if (std::none_of(header + i + 1, header + count, same)) {
            push_value(&state, WJB_VALUE, header[i].second);
            continue;
        }
        pushJsonbValue(&state, WJB_BEGIN_ARRAY, nullptr);
        for (size_t j = i; j < count; ++j)
            if (same(header[j]))
                push_value(&state, WJB_ELEM, header[j].second);
        pushJsonbValue(&state, WJB_END_ARRAY, nullptr);
    }
    return PointerGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, nullptr)));
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_headers_bytes);
PGDLLEXPORT Datum once_headers_bytes(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        bool has_any = false;
        const Datum bytes = once::encode_headers(PG_GETARG_DATUM(0), has_any);
        fcinfo->isnull = !has_any;
        return bytes;
    });
}

PG_FUNCTION_INFO_V1(once_headers_json);
PGDLLEXPORT Datum once_headers_json(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const auto headers = once::wire::decode_headers(pg::bytes_of(PG_GETARG_DATUM(0)));
        if (!headers)
            throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "these bytes are no headers"};
        return pg::call([&] { return once::json_of(headers->data(), headers->size()); });
    });
}

} // extern "C"
