#include "relay/check/checks.hpp"
#include "relay/postgres/question.hpp"

namespace once::checks {

namespace {

constexpr const char *kArea = "database";
constexpr int kOldestVersion = 140000;
constexpr int kNewestTested = 189999;

void check_version(Session &session, Findings &findings) {
    const int number = PQserverVersion(session.raw());
    const std::string version = ask_text(session, "SHOW server_version");
    if (number < kOldestVersion)
        findings.error(ExitCode::database, kArea, "PostgreSQL " + version + " is too old",
                       "PostgreSQL 14 or later is needed");
    else if (number > kNewestTested)
        findings.warning(kArea, "PostgreSQL " + version + " is newer than what was tested",
                         "look for a newer pg_once");
    else
        findings.ok(kArea, "PostgreSQL " + version);
}

void check_primary(Session &session, Findings &findings) {
    if (ask_text(session, "SELECT pg_is_in_recovery()") == "t")
        findings.error(
            ExitCode::database, kArea,
            "the server is a standby: what it shows may be lost in a failover",
            "connect to the primary, by target_session_attrs=read-write and several hosts");
    else
        findings.ok(kArea, "the server is a primary");
}

void check_encoding(Session &session, Findings &findings) {
    const std::string encoding = ask_text(session, "SHOW server_encoding");
    if (encoding == "UTF8")
        findings.ok(kArea, "encoding UTF8");
    else if (encoding == "SQL_ASCII")
        findings.error(
            ExitCode::database, kArea,
            "encoding SQL_ASCII: what the bytes of text mean is unknown, Kafka gets UTF-8",
            "publish from a database with encoding UTF8");
    else
        findings.warning(kArea,
                         "encoding " + encoding + ": text is converted to UTF-8 when published",
                         "use a database with encoding UTF8, or publish bytea");
}

void check_time_outs(const Options &options, Session &session, Findings &findings) {
    const std::string timeout = std::to_string(options.database.session_timeout_ms);
    bool complete = true;
    for (const char *name : {"idle_session_timeout", "idle_in_transaction_session_timeout",
                             "client_connection_check_interval"})
        if (const auto failure = attempt(session, std::string("SET ") + name + " = " + timeout)) {
            complete = false;
            findings.warning(kArea, std::string("cannot set ") + name + ": " + *failure,
                             "a relay that hangs keeps its lane longer; use a server that has it");
        }
    const char *host = PQhost(session.raw());
    const bool local = host != nullptr && host[0] == '/';
    if (!local) {
        attempt(session, "SET tcp_user_timeout = " + timeout);
        // A platform without the socket option takes the setting and shows 0.
        if (ask_text(session, "SHOW tcp_user_timeout") == "0") {
            complete = false;
            findings.warning(
                kArea, "tcp_user_timeout is not supported by the server's platform",
                "a lane held by a machine that vanished is free after TCP keepalives only");
        }
    }
    if (complete)
        findings.ok(kArea, "session timeouts of " + timeout + " ms can be set");
}

void check_durability(Session &session, Findings &findings) {
    bool good = true;
    const auto warn_if = [&](const char *name, std::initializer_list<const char *> bad,
                             const char *what, const char *fix) {
        const std::string value = ask_text(session, std::string("SHOW ") + name);
        for (const char *word : bad)
            if (value == word) {
                good = false;
                findings.warning(kArea, std::string(name) + " = " + value + ": " + what, fix);
            }
    };
    warn_if("fsync", {"off"}, "a crash of the machine loses or damages what committed",
            "set fsync = on");
    warn_if("full_page_writes", {"off"}, "a crash of the machine may damage pages",
            "set full_page_writes = on");
    warn_if("synchronous_commit", {"off", "local"},
            "a commit may be lost after it was acknowledged; it is shipped only once it is safe",
            "set synchronous_commit = on where a lost event matters");
    if (good)
        findings.ok(kArea, "fsync, full_page_writes and synchronous_commit keep what committed");
}

} // namespace

void check_server(const Options &options, Findings &findings) {
    try {
        const auto session = postgres::open_session(options.database);
        check_version(*session, findings);
        check_primary(*session, findings);
        check_encoding(*session, findings);
        check_pooler(options, *session, findings);
        check_time_outs(options, *session, findings);
        check_durability(*session, findings);
    } catch (const DatabaseError &failure) {
        findings.error(ExitCode::database, kArea,
                       std::string("could not connect: ") + failure.what(),
                       "check the option \"database\", the network, pg_hba.conf and the password");
    }
}

} // namespace once::checks
