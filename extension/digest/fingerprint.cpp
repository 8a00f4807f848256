#include "digest/fingerprint.hpp"

#include "pg/memory.hpp"
#include "pg/utf8.hpp"

#include <algorithm>
#include <map>

extern "C" {
#include <utils/fmgrprotos.h>
#include <utils/numeric.h>
}

namespace once {
namespace {

constexpr char kBytes = 'b', kString = 's', kNumber = '#', kTrue = 't', kFalse = 'f', kNull = 'n';
constexpr char kArray = '[', kObject = '{', kMissing = '-';

constexpr size_t kMaxFields = 64;
constexpr size_t kMaxFieldBytes = 4096;
constexpr size_t kShortDigest = 8;

uint16_t be16(const unsigned char *at) {
    return static_cast<uint16_t>(at[0] << 8 | at[1]);
}

std::string_view string_of(const JsonbValue &value) {
    return {value.val.string.val, static_cast<size_t>(value.val.string.len)};
}

// The fields of an object in the canonical order, which is that of jsonb where the database is in
// UTF-8. Server world, trivially destructible.
struct Field {
    std::string_view name; // in the database's encoding
    std::string_view utf8;
    JsonbValue value;
};
struct SortedFields {
    Field *field;
    int count;
};

SortedFields sorted_fields(JsonbContainer *object) {
    SortedFields fields{static_cast<Field *>(palloc_extended(
                            sizeof(Field) * (JsonContainerSize(object) + 1), MCXT_ALLOC_HUGE)),
                        0};
    JsonbIterator *iterator = JsonbIteratorInit(object);
    JsonbValue key;
    while (const JsonbIteratorToken token = JsonbIteratorNext(&iterator, &key, true)) {
        CHECK_FOR_INTERRUPTS();
        if (token != WJB_KEY)
            continue;
        Field &field = fields.field[fields.count++];
        field.name = string_of(key);
        field.utf8 = pg::utf8(field.name);
        (void)JsonbIteratorNext(&iterator, &field.value, true);
    }
    if (!pg::stores_utf8())
        std::sort(fields.field, fields.field + fields.count, [](const Field &a, const Field &b) {
            return std::pair(a.utf8.size(), a.utf8) < std::pair(b.utf8.size(), b.utf8);
        });
    return fields;
}

} // namespace

// Runs inside pg::call: only trivially destructible locals.
struct CanonicalWalk {
    Sha256 &hash;

    // Seven bits a byte, the last one without the high bit: no length begins another one.
    void head(char tag, uint64_t length) {
        unsigned char item[11];
        int size = 0;
        item[size++] = static_cast<unsigned char>(tag);
        for (; length >= 0x80; length >>= 7)
            item[size++] = static_cast<unsigned char>(length | 0x80);
        item[size++] = static_cast<unsigned char>(length);
        hash.update(item, static_cast<size_t>(size));
    }

    // `text` in the database's encoding.
    void text(char tag, std::string_view text) {
        const std::string_view utf8 = pg::utf8(text);
        head(tag, utf8.size());
        hash.update(utf8.data(), utf8.size());
    }

    // numeric's wire format is ndigits, weight, sign, display scale, digits in base 10000: the
    // display scale is what tells 1 from 1.0, so it is left out. The wire format never writes out
    // an exponent.
    void number(Numeric value) {
        bytea *wire = DatumGetByteaPP(DirectFunctionCall1(numeric_send, NumericGetDatum(value)));
        const auto *data = reinterpret_cast<const unsigned char *>(VARDATA_ANY(wire));
        const int stored = be16(data);
        int first = 0, last = stored;
        const unsigned char *digits = data + 8;
        while (last > first && be16(digits + 2 * (last - 1)) == 0)
            last--;
        while (first < last && be16(digits + 2 * first) == 0)
            first++;
        const int weight = static_cast<int16_t>(be16(data + 2)) - first;
        const bool zero = first == last;
        head(kNumber, static_cast<uint64_t>(last - first));
        const unsigned char shape[4] = {static_cast<unsigned char>(zero ? 0 : data[4]),
                                        static_cast<unsigned char>(zero ? 0 : data[5]),
                                        static_cast<unsigned char>(zero ? 0 : weight >> 8),
                                        static_cast<unsigned char>(zero ? 0 : weight)};
        hash.update(shape, sizeof shape);
        hash.update(digits + 2 * first, static_cast<size_t>(2 * (last - first)));
        pfree(wire);
    }

    void scalar(const JsonbValue &value) {
        switch (value.type) {
        case jbvNull:
            head(kNull, 0);
            break;
        case jbvBool:
            head(value.val.boolean ? kTrue : kFalse, 0);
            break;
        case jbvString:
            text(kString, string_of(value));
            break;
        case jbvNumeric:
            number(value.val.numeric);
            break;
        default:
            elog(ERROR, "unexpected jsonb value of type %d", static_cast<int>(value.type));
        }
    }

    // jsonb keeps object keys unique and in one order (length, then bytes): that order is the
    // canonical one in UTF-8. In another encoding a key has another length.
    void container(JsonbContainer *json) {
        if (!pg::stores_utf8())
            return sorted_container(json);
        JsonbIterator *iterator = JsonbIteratorInit(json);
        JsonbValue value;
        unsigned seen = 0;
        for (;;) {
            const JsonbIteratorToken token = JsonbIteratorNext(&iterator, &value, false);
            if (++seen % 4096 == 0)
                CHECK_FOR_INTERRUPTS();
            switch (token) {
            case WJB_DONE:
                return;
            case WJB_BEGIN_ARRAY: // a bare scalar is stored as an array of one
                if (!value.val.array.rawScalar)
                    head(kArray, static_cast<uint64_t>(value.val.array.nElems));
                break;
            case WJB_BEGIN_OBJECT:
                head(kObject, static_cast<uint64_t>(value.val.object.nPairs));
                break;
            case WJB_KEY:
                text(kString, string_of(value));
                break;
            case WJB_ELEM:
            case WJB_VALUE:
                scalar(value);
                break;
            case WJB_END_ARRAY:
            case WJB_END_OBJECT:
                break;
            }
        }
    }

    void sorted_container(JsonbContainer *json) {
        check_stack_depth();
        if (JsonContainerIsObject(json)) {
            const SortedFields fields = sorted_fields(json);
            head(kObject, static_cast<uint64_t>(fields.count));
            for (int i = 0; i < fields.count; ++i) {
                text(kString, fields.field[i].name);
                any(fields.field[i].value);
            }
            return;
        }
        JsonbIterator *iterator = JsonbIteratorInit(json);
        JsonbValue value;
        while (const JsonbIteratorToken token = JsonbIteratorNext(&iterator, &value, true)) {
            CHECK_FOR_INTERRUPTS();
            if (token == WJB_BEGIN_ARRAY && !value.val.array.rawScalar)
                head(kArray, static_cast<uint64_t>(value.val.array.nElems));
            else if (token == WJB_ELEM)
                any(value);
        }
    }

    void any(JsonbValue &value) {
        if (value.type == jbvBinary)
            container(value.val.binary.data);
        else
            scalar(value);
    }
};

void CanonicalHash::bytes(std::string_view value) {
    pg::call([&] {
        CanonicalWalk walk{hash_};
        walk.head(kBytes, value.size());
        hash_.update(value.data(), value.size());
    });
}

void CanonicalHash::json(Jsonb *value) {
    pg::call([&] { CanonicalWalk{hash_}.container(&value->root); });
}

bool CanonicalHash::field(Jsonb *object, std::string_view name) {
    return pg::call([&] {
        CanonicalWalk walk{hash_};
        JsonbValue value;
        walk.text(kString, name);
        const bool found = JB_ROOT_IS_OBJECT(object) &&
                           getKeyJsonValueFromContainer(&object->root, name.data(),
                                                        static_cast<int>(name.size()), &value);
        if (found)
            walk.any(value);
        else
            walk.head(kMissing, 0);
        return found;
    });
}

static std::string versioned(const Digest &digest) {
    std::string out;
    out.reserve(1 + digest.size());
    out.push_back(static_cast<char>(kFingerprintVersion));
    return out.append(reinterpret_cast<const char *>(digest.data()), digest.size());
}

// An object: its count of fields, then of each the name and the digest of its value, so that the
// digests that `fields` keeps cost no second walk. Anything else is hashed as one item.
std::string fingerprint_of_json(Jsonb *request, std::string *fields) {
    Sha256 whole;
    if (!JB_ROOT_IS_OBJECT(request)) {
        pg::call([&] { CanonicalWalk{whole}.container(&request->root); });
        return versioned(whole.finish());
    }
    CanonicalWalk{whole}.head(kObject, JB_ROOT_COUNT(request));
    Sha256 hash;
    size_t kept = 0;
    const SortedFields sorted = pg::call([&] { return sorted_fields(&request->root); });
    for (int i = 0; i < sorted.count; ++i) {
        Field &field = sorted.field[i];
        pg::call([&] {
            CHECK_FOR_INTERRUPTS();
            CanonicalWalk{hash}.any(field.value);
            CanonicalWalk{whole}.text(kString, field.name);
        });
        const Digest digest = hash.finish();
        whole.update(digest.data(), digest.size());
        if (kept == kMaxFields || fields->size() >= kMaxFieldBytes || field.utf8.empty() ||
            field.utf8.size() > 255)
            continue;
        fields->push_back(static_cast<char>(field.utf8.size()));
        fields->append(field.utf8);
        fields->append(reinterpret_cast<const char *>(digest.data()), kShortDigest);
        ++kept;
    }
    return versioned(whole.finish());
}

std::string fingerprint_of_bytes(std::string_view request) {
    CanonicalHash hash;
    hash.bytes(request);
    return versioned(hash.finish());
}

namespace {

// What was kept of a request's fields, in the order of jsonb. A list that was cut cannot tell what
// stands behind its last field.
struct FieldDigests {
    explicit FieldDigests(std::string_view list) : cut(list.size() >= kMaxFieldBytes) {
        while (!list.empty()) {
            const size_t length = static_cast<unsigned char>(list[0]);
            if (list.size() < 1 + length + kShortDigest)
                break; // damaged: name what can be named
            last = list.substr(1, length);
            of.emplace(last, list.substr(1 + length, kShortDigest));
            list.remove_prefix(1 + length + kShortDigest);
        }
        cut = cut || of.size() == kMaxFields;
    }

    [[nodiscard]] bool lacks(std::string_view name) const {
        return !of.contains(name) &&
               !(cut && std::pair(name.size(), name) > std::pair(last.size(), last));
    }

    std::map<std::string_view, std::string_view> of;
    std::string_view last;
    bool cut;
};

} // namespace

std::vector<std::string> differing_fields(std::string_view stored, std::string_view given) {
    const FieldDigests before(stored), now(given);
    std::vector<std::string> out;
    for (const auto &[name, digest] : before.of) {
        const auto other = now.of.find(name);
        if (other == now.of.end() ? now.lacks(name) : other->second != digest)
            out.emplace_back(name);
    }
    for (const auto &[name, digest] : now.of)
        if (before.lacks(name))
            out.emplace_back(name);
    std::sort(out.begin(), out.end());
    return out;
}

} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_fingerprint);
PGDLLEXPORT Datum once_fingerprint(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        Jsonb *request = pg::call([&] { return PG_GETARG_JSONB_P(0); });
        std::string fields;
        return pg::varlena_of(once::fingerprint_of_json(request, &fields));
    });
}

PG_FUNCTION_INFO_V1(once_fingerprint_bytes);
PGDLLEXPORT Datum once_fingerprint_bytes(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        return pg::varlena_of(once::fingerprint_of_bytes(pg::bytes_of(PG_GETARG_DATUM(0))));
    });
}

} // extern "C"
