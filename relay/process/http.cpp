#include "relay/process/http.hpp"

#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"
#include "relay/process/whole_number.hpp"

#include <arpa/inet.h>
#include <thread>

#include <httplib.h>

namespace once {

namespace {

constexpr std::size_t kThreads = 2; // a scraper and a supervisor at the same time
constexpr std::size_t kMostRequestBytes = 4096;
constexpr time_t kSocketTimeoutS = 5;

struct Address {
    std::string host;
    int port = 0;
};

// "127.0.0.1:9187", "[::1]:9187", "localhost:9187"
bool parse(const std::string &text, Address &into) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos || colon == 0)
        return false;
    into.host = text.substr(0, colon);
    if (into.host.starts_with('[') && into.host.ends_with(']'))
        into.host = into.host.substr(1, into.host.size() - 2);
    else if (into.host.find(':') != std::string::npos)
        return false;
    const auto port = whole_number<int>(std::string_view(text).substr(colon + 1));
    into.port = port.value_or(-1);
    return into.port >= 0 && into.port <= 65535;
}

// By the address itself; of names only localhost, since any other may resolve to anything.
bool is_loopback(const std::string &host) {
    in_addr v4{};
    in6_addr v6{};
    if (inet_pton(AF_INET, host.c_str(), &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, host.c_str(), &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return host == "localhost";
}

void answer(httplib::Response &response, const Health &health) {
    response.status = health.good ? 200 : 503;
    response.set_content(health.good ? "ok\n" : health.reason + "\n", "text/plain");
}

} // namespace

void check_listen(const HttpOptions &options, const std::string &origin) {
    Address address;
    if (!parse(options.listen, address))
        throw Refusal(ExitCode::configuration,
                      "cannot use \"" + options.listen + "\" for option \"http.listen\" (" +
                          origin + ")",
                      "It takes ADDR:PORT, an IPv6 address in brackets.");
    if (!options.allow_remote && !is_loopback(address.host))
        throw Refusal(ExitCode::configuration,
                      "address \"" + address.host +
                          "\" of option \"http.listen\" is not loopback (" + origin + ")",
                      "The metrics name topics and lanes, and there is no authentication.",
                      "Listen on 127.0.0.1, or set http.allow_remote = true.");
}

struct HttpServer::Running {
    httplib::Server server;
    int port = 0;
    std::thread thread;
};

HttpServer::HttpServer(const HttpOptions &options, const Metrics &metrics) {
    Address address;
    if (options.listen.empty() || !parse(options.listen, address))
        return;
    running_ = std::make_unique<Running>();
    httplib::Server &server = running_->server;
    server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
    // httplib's default is SO_REUSEPORT: a second relay on the port would take every other request,
    // unnoticed.
    server.set_socket_options([](socket_t socket) {
        const int on = 1;
        setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    });
    server.set_payload_max_length(kMostRequestBytes);
    server.set_read_timeout(kSocketTimeoutS);
    server.set_write_timeout(kSocketTimeoutS);
    server.set_keep_alive_timeout(kSocketTimeoutS);
    const std::int64_t stale_ms = options.stale_ms;
    server.Get("/metrics", [&metrics](const httplib::Request &, httplib::Response &response) {
        response.set_content(prometheus_text(metrics), "text/plain; version=0.0.4");
    });
    server.Get("/healthz",
               [&metrics, stale_ms](const httplib::Request &, httplib::Response &response) {
                   answer(response, metrics.alive(stale_ms));
               });
    server.Get("/readyz",
               [&metrics, stale_ms](const httplib::Request &, httplib::Response &response) {
                   answer(response, metrics.progressing(stale_ms));
               });
    running_->port = address.port != 0 && server.bind_to_port(address.host, address.port)
                         ? address.port
                     : address.port == 0 ? server.bind_to_any_port(address.host)
                                         : 0;
    if (running_->port <= 0)
        throw Refusal(ExitCode::configuration,
                      "could not listen on \"" + options.listen + "\" (option \"http.listen\")",
                      "The address is not of this machine, or the port is taken.",
                      "Choose another port; port 0 takes a free one.");
    running_->thread = std::thread([this] { running_->server.listen_after_bind(); });
    // stop() before the loop runs would be lost, and the destructor would wait for ever.
    while (!server.is_running())
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    log::info("http_listening", {{"address", address.host}, {"port", running_->port}});
}

HttpServer::~HttpServer() {
    if (!running_)
        return;
    running_->server.stop();
    running_->thread.join();
}

int HttpServer::port() const {
    return running_ ? running_->port : 0;
}

} // namespace once
