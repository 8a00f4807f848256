#include "digest/message_id.hpp"

#include "arguments.hpp"
#include "digest/sha256.hpp"
#include "errors.hpp"
#include "pg/boundary.hpp"
#include "pg/memory.hpp"
#include "pg/utf8.hpp"
#include "pg/value.hpp"

extern "C" {
#include <utils/timestamp.h>
}

#include <algorithm>
#include <array>

namespace once {
namespace {

// An id is hashed, so its length costs only time; the limit keeps a payload from being passed by
// mistake.
constexpr size_t kLongestId = 65535;

// SHA-256 and nothing weaker: ids come from outside, so a hash that can be steered would let a
// sender make somebody else's message a duplicate.
Sha256::Digest sha256(std::string_view bytes) {
    Sha256 hash;
    hash.update(bytes.data(), bytes.size());
    return hash.finish();
}

std::string_view checked(std::string_view bytes) {
    if (bytes.empty() || bytes.size() > kLongestId)
        throw pg::Failure{kInvalidConsumer, "invalid id",
                          "An id has 1 to " + std::to_string(kLongestId) + " bytes."};
    return bytes;
}

pg_uuid_t stored(const wire::MessageKey &key) {
    pg_uuid_t uuid;
    std::copy(key.begin(), key.end(), uuid.data);
    return uuid;
}

MessageId of_uuid(const pg_uuid_t &id) {
    wire::MessageKey uuid;
    std::copy_n(id.data, uuid.size(), uuid.begin());
    MessageId result{stored(wire::key_of_uuid(uuid, sha256))};
    constexpr int64 kUnixToPostgres =
        (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * USECS_PER_SEC;
    if (const auto milliseconds = wire::uuid7_milliseconds(uuid))
        result.made_at = *milliseconds * 1000 - kUnixToPostgres;
    return result;
}

} // namespace

MessageId message_id(IdType type, Datum id) {
    switch (type) {
    case IdType::bigint:
        return {stored(wire::key_of_number(DatumGetInt64(id)))};
    case IdType::uuid:
        return of_uuid(*DatumGetUUIDP(id));
    case IdType::text:
        return {stored(wire::key_of_text(pg::utf8(checked(pg::bytes_of(id))), sha256))};
    case IdType::bytea:
        break;
    }
    return {stored(wire::key_of_bytes(checked(pg::bytes_of(id)), sha256))};
}

int64 owner_of(const char *kind, std::string_view name) {
    return wire::owner_of(kind, pg::utf8(name), sha256);
}

} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_owner_of);
PGDLLEXPORT Datum once_owner_of(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const std::string kind(pg::bytes_of(PG_GETARG_DATUM(0)));
        PG_RETURN_INT64(once::owner_of(kind.c_str(), pg::bytes_of(PG_GETARG_DATUM(1))));
    });
}

PG_FUNCTION_INFO_V1(once_message_key);
PGDLLEXPORT Datum once_message_key(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const Oid type = pg::call([&] { return get_fn_expr_argtype(fcinfo->flinfo, 0); });
        once::IdType is = once::IdType::text;
        if (type == INT8OID)
            is = once::IdType::bigint;
        else if (type == UUIDOID)
            is = once::IdType::uuid;
        else if (type == BYTEAOID)
            is = once::IdType::bytea;
        const pg_uuid_t key = once::message_id(is, PG_GETARG_DATUM(0)).key;
        std::array<unsigned char, UUID_LEN> bytes;
        std::copy_n(key.data, bytes.size(), bytes.begin());
        return pg::uuid_of(bytes);
    });
}

} // extern "C"
