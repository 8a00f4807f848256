// once.content_id: a uuid of version 8 from the digest of scope and canonical content
// (fingerprint.hpp).
#include "arguments.hpp"
#include "digest/fingerprint.hpp"
#include "pg/array.hpp"
#include "pg/utf8.hpp"
#include "pg/value.hpp"

#include <algorithm>
#include <vector>

namespace once {
namespace {

// Sorted and each once: a set, whatever the caller's order.
std::vector<std::string_view> fields_of(Datum array) {
    const pg::Elements names = pg::elements_of(array, "fields", TEXTOID);
    std::vector<std::string_view> fields;
    for (int i = 0; i < names.count; ++i) {
        if (names.null[i])
            throw pg::Failure{ERRCODE_NULL_VALUE_NOT_ALLOWED, "field must not be null"};
        fields.push_back(pg::bytes_of(names.value[i]));
    }
    if (fields.empty())
        throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "at least one field is needed",
                          "Contents would have one id for all."};
    std::sort(fields.begin(), fields.end(),
              [](std::string_view a, std::string_view b) { return pg::utf8(a) < pg::utf8(b); });
    fields.erase(std::unique(fields.begin(), fields.end()), fields.end());
    return fields;
}

Datum content_id(std::string_view scope, Jsonb *content,
                 const std::vector<std::string_view> *fields) {
    CanonicalHash hash;
    hash.bytes(pg::utf8(scope));
    if (!fields) {
        hash.json(content);
    } else {
        if (!JB_ROOT_IS_OBJECT(content))
            throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE,
                              "content must be a JSON object when fields are given"};
        for (std::string_view field : *fields) {
            hash.bytes(pg::utf8(field));
            hash.field(content, field);
        }
    }
    const auto digest = hash.finish();
    std::array<unsigned char, 16> id;
    std::copy_n(digest.begin(), id.size(), id.begin());
    id[6] = (id[6] & 0x0f) | 0x80; // RFC 9562: version 8, variant 10
    id[8] = (id[8] & 0x3f) | 0x80;
    return pg::uuid_of(id);
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_content_id);
PGDLLEXPORT Datum once_content_id(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const auto scope = once::name_argument(fcinfo, 0, "scope");
        once::require_argument(fcinfo, 1, "content");
        Jsonb *content = pg::call([&] { return PG_GETARG_JSONB_P(1); });
        if (PG_ARGISNULL(2))
            return once::content_id(scope, content, nullptr);
        const auto fields = once::fields_of(PG_GETARG_DATUM(2));
        return once::content_id(scope, content, &fields);
    });
}

} // extern "C"
