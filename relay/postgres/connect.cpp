#include "relay/postgres/connect.hpp"

#include "relay/options.hpp"
#include "relay/postgres/session_lost.hpp"
#include "relay/process/aside.hpp"
#include "relay/process/one_line.hpp"

#include <algorithm>
#include <map>
#include <system_error>
#include <thread>
#include <vector>

#include <sys/socket.h>

namespace once::postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A name may stand for several addresses, and each has connect_timeout_s.
constexpr int kAddressesOfAHost = 2;
constexpr milliseconds kCancelPatience{2000};

// What stands behind the connection string wins over it.
using Parameters = std::map<std::string, std::string>;

Parameters parameters_of(const DatabaseOptions &options) {
    return {{"client_encoding", "UTF8"},
            {"connect_timeout", std::to_string(options.connect_timeout_s)},
            // A host that vanished while we wait for its answer sends nothing that would tell:
            // tcp_user_timeout counts only while something of ours is unacknowledged, and the
            // kernel's own keepalives begin after two hours.
            {"keepalives", "1"},
            {"keepalives_idle", "5"},
            {"keepalives_interval", "5"},
            {"keepalives_count", "2"},
            {"tcp_user_timeout", std::to_string(options.session_timeout_ms)}};
}

struct Arguments {
    std::vector<const char *> names, values;

    Arguments(const std::string &conninfo, const Parameters &parameters) {
        add("dbname", conninfo);
        for (const auto &[name, value] : parameters)
            add(name.c_str(), value);
        names.push_back(nullptr);
        values.push_back(nullptr);
    }

  private:
    void add(const char *name, const std::string &value) {
        names.push_back(name);
        values.push_back(value.c_str());
    }
};

// At least one; libpq's own defaults are one host.
int hosts_in(const std::string &conninfo) {
    using Info = std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)>;
    const Info info(PQconninfoParse(conninfo.c_str(), nullptr), PQconninfoFree);
    std::ptrdiff_t commas = 0;
    for (const PQconninfoOption *option = info.get(); option && option->keyword; ++option) {
        const std::string name = option->keyword;
        if (option->val != nullptr && (name == "host" || name == "hostaddr")) {
            const std::string list = option->val;
            commas = std::max(commas, std::count(list.begin(), list.end(), ','));
        }
    }
    return static_cast<int>(commas) + 1;
}

std::string text_or(const char *text, const char *otherwise) {
    return text != nullptr && *text != '\0' ? text : otherwise;
}

} // namespace

Handle open_connection(const DatabaseOptions &options, const std::string &application,
                       const StopSignal *stop) {
    Parameters parameters = parameters_of(options);
    parameters.emplace("fallback_application_name", application);
    const seconds patience(options.connect_timeout_s * kAddressesOfAHost *
                           hosts_in(options.conninfo));
    std::optional<Handle> opened;
    try {
        opened = aside(
            [conninfo = options.conninfo, parameters] {
                const Arguments arguments(conninfo, parameters);
                return Handle(PQconnectdbParams(arguments.names.data(), arguments.values.data(), 1),
                              PQfinish);
            },
            patience, stop);
    } catch (const std::system_error &no_thread) {
        throw SessionLost(std::string("could not start a thread: ") + no_thread.what());
    }
    if (!opened && stop != nullptr && stop->requested())
        throw SessionLost("asked to stop while connecting");
    if (!opened)
        throw SessionLost("could not connect within " + std::to_string(patience.count()) + " s");
    if (PQstatus(opened->get()) != CONNECTION_OK)
        throw SessionLost(one_line(PQerrorMessage(opened->get())));
    return std::move(*opened);
}

// PQcancel connects without a timeout of its own.
void cancel(PGconn *connection) {
    using Request = std::unique_ptr<PGcancel, decltype(&PQfreeCancel)>;
    Request request(PQgetCancel(connection), PQfreeCancel);
    if (!request)
        return;
    try {
        aside(
            [request = std::move(request)] {
                char reason[256];
                return PQcancel(request.get(), reason, sizeof reason);
            },
            kCancelPatience);
    } catch (const std::system_error &) {
        // No thread to be had: the statement's own end has to do.
    }
}

std::future<bool> ask_for_life(PGconn *connection, const DatabaseOptions &options) {
    Parameters parameters = parameters_of(options);
    // This server, not another one of the list.
    parameters["host"] = text_or(PQhost(connection), "");
    parameters["port"] = text_or(PQport(connection), "");
    if (const char *address = PQhostaddr(connection); address != nullptr && *address != '\0')
        parameters["hostaddr"] = address;
    std::promise<bool> promise;
    std::future<bool> answer = promise.get_future();
    try {
        std::thread([promise = std::move(promise), conninfo = options.conninfo,
                     parameters]() mutable {
            const Arguments arguments(conninfo, parameters);
            promise.set_value(PQpingParams(arguments.names.data(), arguments.values.data(), 1) !=
                              PQPING_NO_RESPONSE);
        }).detach();
    } catch (const std::system_error &) {
        std::promise<bool> not_asked;
        not_asked.set_value(true);
        return not_asked.get_future();
    }
    return answer;
}

void hang_up(PGconn *connection) noexcept {
    if (const int socket = PQsocket(connection); socket >= 0)
        ::shutdown(socket, SHUT_RDWR);
}

} // namespace once::postgres
