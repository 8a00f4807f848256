#include "outbox/event.hpp"

#include "errors.hpp"
#include "pg/memory.hpp"
#include "settings.hpp"
#include "outbox/event_headers.hpp"
#include "pg/encoding.hpp"
#include "wire/names.hpp"

extern "C" {
#include <lib/stringinfo.h>
#include <utils/fmgrprotos.h>
#include <utils/jsonb.h>
#include <utils/numeric.h>
}

namespace once {
namespace {

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
        pg::utf8({VARDATA_ANY(value), static_cast<size_t>(VARSIZE_ANY_EXHDR(value))});
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
    event.form = form;
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

void set_key(Event &event, KeyForm form, Datum key) {
    event.has_key = true;
    event.key = pg::call([&]() -> Datum {
        switch (form) {
        case KeyForm::text:
            return in_utf8(PointerGetDatum(DatumGetTextPP(key)));
        case KeyForm::number:
            return PointerGetDatum(
                cstring_to_text(DatumGetCString(DirectFunctionCall1(int8out, key))));
        case KeyForm::uuid:
            return PointerGetDatum(
                cstring_to_text(DatumGetCString(DirectFunctionCall1(uuid_out, key))));
        case KeyForm::bytes:
            break;
        }
        return PointerGetDatum(DatumGetByteaPP(key));
    });
    if (size_of(event.key) > wire::kMaxKeyBytes)
        throw pg::Failure{kEventTooLarge,
                          "key is too long: " + std::to_string(size_of(event.key)) + " bytes",
                          "At most " + std::to_string(wire::kMaxKeyBytes) + " are allowed."};
    event.bytes += size_of(event.key);
}

void set_headers(Event &event, Datum headers) {
    event.headers = encode_headers(headers, event.has_headers);
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
    event.lane = known.lane_of(event.has_key ? bytes_at(event.key) : topic.name);
    event.sequence = known.lane[static_cast<size_t>(event.lane)].sequence;
}

} // namespace once
