#include "inbox/message_id.hpp"

#include "arguments.hpp"
#include "digest/digest.hpp"
#include "errors.hpp"
#include "pg/boundary.hpp"
#include "pg/memory.hpp"

extern "C" {
#include <utils/fmgrprotos.h>
#include <utils/timestamp.h>
}

#include <algorithm>

namespace once {
namespace {

// An id is hashed, so its length costs only time; the limit keeps a payload from being passed by
// mistake.
constexpr size_t kLongestId = 65535;

constexpr const char *kNames[] = {"bigint", "uuid", "text", "bytea"};

[[noreturn]] void refuse(IdType consumer, IdType argument) {
    throw pg::Failure{
        kIdType,
        std::string("id of type ") + name_of(argument) + " does not fit consumer of type " +
            name_of(consumer),
        "", "A consumer has one id type, declared by once.consumer_set or by its first use."};
}

// The first half of SHA-256: ids come from outside, so a hash that can be steered would let a
// sender make somebody else's message a duplicate.
pg_uuid_t digest(std::string_view bytes) {
    if (bytes.empty() || bytes.size() > kLongestId)
        throw pg::Failure{kInvalidConsumer, "invalid id",
                          "An id has 1 to " + std::to_string(kLongestId) + " bytes."};
    const Digest128 hash = digest128_of_bytes(bytes);
    pg_uuid_t half;
    std::memcpy(half.data, hash.data(), UUID_LEN);
    return half;
}

// RFC 9562: 48 bits of milliseconds since 1970, version 7, variant 10.
TimestampTz time_of(const pg_uuid_t &id) {
    if (id.data[6] >> 4 != 7 || id.data[8] >> 6 != 2)
        return DT_NOBEGIN;
    uint64 milliseconds = 0;
    for (int i = 0; i < 6; ++i)
        milliseconds = milliseconds << 8 | id.data[i];
    constexpr int64 kUnixToPostgres =
        (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * USECS_PER_SEC;
    return static_cast<int64>(milliseconds) * 1000 - kUnixToPostgres;
}

// A text that cannot be read as the consumer's type is an id of another type, whatever the parser
// says of it.
Datum parse(IdType consumer, PGFunction input, Datum id) {
    bool failed = false;
    Datum value = 0;
    try {
        value = pg::call(
            [&] { return DirectFunctionCall1(input, CStringGetDatum(TextDatumGetCString(id))); });
    } catch (const pg::Error &) {
        failed = true;
    }
    if (failed)
        refuse(consumer, IdType::text);
    return value;
}

StoredKey of_number(int64 number) {
    return {.number = number};
}

StoredKey of_uuid(const pg_uuid_t &id) {
    return {.bytes = id, .time = time_of(id)};
}

StoredKey of_text(IdType argument, Datum id) {
    if (argument == IdType::text)
        return {.bytes = digest(pg::bytes_of(id))};
    const char *text = pg::call([&] {
        return DatumGetCString(
            DirectFunctionCall1(argument == IdType::uuid ? uuid_out : int8out, id));
    });
    StoredKey key{.bytes = digest(text)};
    if (argument == IdType::uuid)
        key.time = time_of(*DatumGetUUIDP(id));
    return key;
}

} // namespace

const char *name_of(IdType type) {
    return kNames[static_cast<int>(type)];
}

std::optional<IdType> id_type_of(std::string_view name) {
    for (auto type : {IdType::bigint, IdType::uuid, IdType::text, IdType::bytea})
        if (name == name_of(type))
            return type;
    return std::nullopt;
}

StoredKey stored_key(IdType consumer, IdType argument, Datum id) {
    switch (consumer) {
    case IdType::bigint:
        if (argument == IdType::bigint)
            return of_number(DatumGetInt64(id));
        if (argument == IdType::text)
            return of_number(DatumGetInt64(parse(consumer, int8in, id)));
        break;
    case IdType::uuid:
        if (argument == IdType::uuid)
            return of_uuid(*DatumGetUUIDP(id));
        if (argument == IdType::text)
            return of_uuid(*DatumGetUUIDP(parse(consumer, uuid_in, id)));
        break;
    case IdType::text:
        if (argument != IdType::bytea)
            return of_text(argument, id);
        break;
    case IdType::bytea:
        if (argument == IdType::bytea)
            return {.bytes = digest(pg::bytes_of(id))};
        if (argument == IdType::text)
            return {.bytes = digest(pg::bytes_of(parse(consumer, byteain, id)))};
        break;
    }
    refuse(consumer, argument);
}

} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_require_name);
PGDLLEXPORT Datum once_require_name(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        once::require_argument(fcinfo, 1, "what");
        once::require_argument(fcinfo, 2, "code");
        const std::string what(pg::bytes_of(PG_GETARG_DATUM(1)));
        const std::string code(pg::bytes_of(PG_GETARG_DATUM(2)));
        if (code.size() != 5)
            throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "a code has 5 characters"};
        once::require_argument(fcinfo, 0, what.c_str());
        once::check_name(pg::bytes_of(PG_GETARG_DATUM(0)), what.c_str(),
                         MAKE_SQLSTATE(code[0], code[1], code[2], code[3], code[4]));
        PG_RETURN_VOID();
    });
}

PG_FUNCTION_INFO_V1(once_uuid_time);
PGDLLEXPORT Datum once_uuid_time(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const TimestampTz time = once::time_of(*PG_GETARG_UUID_P(0));
        if (time == DT_NOBEGIN)
            PG_RETURN_NULL();
        PG_RETURN_TIMESTAMPTZ(time);
    });
}

} // extern "C"
