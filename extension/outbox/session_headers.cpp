#include "outbox/session_headers.hpp"

#include "errors.hpp"
#include "outbox/event_headers.hpp"
#include "pg/compat.hpp"
#include "pg/memory.hpp"
#include "wire/column_headers.hpp"

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

extern "C" {
#include <utils/builtins.h>
#include <utils/fmgrprotos.h>
#include <utils/guc.h>
}

namespace once {
namespace {

// Travels with the value through the server's stack of settings: who comes back to an older value
// comes back to its own.
struct Origin {
    bool lasts;
    LocalTransactionId transaction; // that set it, unless it lasts
};

char *setting = nullptr;
const Origin *origin = nullptr;
bool changed = true; // since it was encoded

// What the value says is found out when it is used: a setting is also made where no transaction is,
// and an error there would end the connection.
bool note_origin(char **value, void **extra, GucSource source) {
    if (!*value || !**value)
        return true;
    auto *made = static_cast<Origin *>(pg::setting_memory(sizeof(Origin)));
    if (!made)
        return false;
    *made = {source < PGC_S_INTERACTIVE, pg::local_transaction()};
    *extra = made;
    return true;
}

void take_origin(const char *, void *extra) {
    origin = static_cast<const Origin *>(extra);
    changed = true;
}

bool applies() {
    return origin && (origin->lasts || origin->transaction == pg::local_transaction());
}

void name_setting(void *) {
    errcontext("setting once.headers");
}

Datum json_of_setting() {
    return pg::call([] {
        ErrorContextCallback context{error_context_stack, name_setting, nullptr};
        error_context_stack = &context;
        const Datum json = DirectFunctionCall1(jsonb_in, CStringGetDatum(setting));
        error_context_stack = context.previous;
        return json;
    });
}

// As they stand in a column; made once for each value.
const std::string &encoded_setting() {
    static std::string encoded;
    if (changed) {
        bool has_any = false;
        const Datum bytes =
            encode_headers(json_of_setting(), has_any, "They are the setting once.headers.");
        encoded = has_any ? pg::bytes_of(bytes) : std::string_view();
        changed = false;
    }
    return encoded;
}

Datum stored(const std::vector<wire::Header> &headers) {
    const std::string bytes = wire::encode_headers(headers);
    return pg::varlena_of(std::string_view(bytes));
}

} // namespace

void define_session_headers() {
    DefineCustomStringVariable(
        "once.headers", "Headers of each event that this transaction publishes, a JSON object.",
        "A header of the same name that a call gives comes instead. Counts to the end of the "
        "transaction that sets it.",
        &setting, "", PGC_USERSET, 0, note_origin, take_origin, nullptr);
}

void add_session_headers(Event &event) {
    if (!applies())
        return;
    const std::string &session = encoded_setting();
    if (session.empty())
        return;
    const std::string_view own = event.has_headers ? pg::bytes_of(event.headers) : "";
    const std::vector<wire::Header> given = wire::decode_headers(own).value();
    const std::vector<wire::Header> added = wire::decode_headers(session).value();
    std::vector<wire::Header> headers = given;
    std::copy_if(
        added.begin(), added.end(), std::back_inserter(headers), [&](const wire::Header &one) {
            return std::none_of(given.begin(), given.end(), [&](const wire::Header &other) {
                return other.first == one.first;
            });
        });
    if (headers.size() > wire::kMaxHeaders)
        throw pg::Failure{kInvalidHeader, "too many headers: " + std::to_string(headers.size()),
                          "At most " + std::to_string(wire::kMaxHeaders) + " are allowed.",
                          "Some are the setting once.headers."};
    const size_t before = own.size();
    event.headers = stored(headers);
    event.has_headers = true;
    event.bytes += pg::bytes_of(event.headers).size() - before;
}

} // namespace once
