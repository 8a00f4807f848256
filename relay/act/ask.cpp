#include "relay/act/ask.hpp"

#include "relay/process/exit_code.hpp"
#include "relay/process/one_line.hpp"

#include <cstdio>
#include <memory>

namespace once::act {

void refuse(const postgres::SqlError &error) {
    const std::string what = error.what();
    if (error.sqlstate == "42501")
        throw Refusal(
            ExitCode::database, "missing privilege: " + what, {},
            "Who looks needs once.grant_relay('role'), who acts once.grant_admin('role').");
    if (error.sqlstate == "3F000" || error.sqlstate == "42883" || error.sqlstate == "42P01" ||
        error.sqlstate == "42703")
        throw Refusal(ExitCode::mismatch, what, error.detail,
                      "CREATE EXTENSION pg_once, of the same version as once-relay.");
    throw Refusal(ExitCode::database, what, error.detail, error.hint);
}

void refuse(const postgres::SessionLost &lost) {
    throw Refusal(ExitCode::database, std::string("could not ask the database: ") + lost.what(), {},
                  "Check the option \"database\" and the network.");
}

Json documents(const pqxx::result &rows) {
    Json all = Json::array();
    for (const auto &row : rows)
        all.push_back(Json::parse(row[0].as<std::string>()));
    return all;
}

Json readable(const Json &bytea) {
    if (!bytea.is_string())
        return bytea;
    std::size_t length = 0;
    const std::unique_ptr<unsigned char, decltype(&PQfreemem)> bytes(
        PQunescapeBytea(
            reinterpret_cast<const unsigned char *>(bytea.get_ref<const std::string &>().c_str()),
            &length),
        PQfreemem);
    if (bytes == nullptr)
        throw std::bad_alloc();
    Json text(std::string(reinterpret_cast<const char *>(bytes.get()), length));
    try {
        text.dump();
        return text;
    } catch (const Json::type_error &) { // what is no UTF-8 is no text
        return bytea;
    }
}

void print(const Json &document) {
    std::puts(document.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
}

std::string text(const Json &object, const char *name) {
    const auto found = object.find(name);
    if (found == object.end() || found->is_null())
        return "-";
    return found->is_string() ? one_line(found->get<std::string>()) : found->dump();
}

} // namespace once::act
