#include "relay/postgres/question.hpp"

namespace once::postgres {

std::unique_ptr<Session> open_session(const DatabaseOptions &options) {
    return std::make_unique<Session>(options, Purpose::question, nullptr);
}

std::optional<std::string> attempt(Session &session, const std::string &sql) {
    try {
        ask(session, sql);
        return std::nullopt;
    } catch (const SqlError &error) {
        return error.what();
    }
}

std::string quote(Session &session, const std::string &text) {
    return session.connection().pqxx().quote(text);
}

} // namespace once::postgres
