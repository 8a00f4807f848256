#include "relay/process/http.hpp"

#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"
#include "relay/process/prometheus.hpp"
#include "relay/process/whole_number.hpp"

#include <arpa/inet.h>

namespace once {

namespace {

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

HttpServer::HttpServer(const HttpOptions &options, const Metrics &metrics) {
    Address address;
    if (options.listen.empty() || !parse(options.listen, address))
        return;
    const std::int64_t stale_ms = options.stale_ms;
    const auto health = [](const Health &of) {
        return HttpAnswer{of.good ? 200 : 503, "text/plain", of.good ? "ok\n" : of.reason + "\n"};
    };
    const HttpPages pages{
        {"/metrics",
         [&metrics](std::string_view request) {
             const MetricsFormat format = metrics_format(request);
             return HttpAnswer{200, content_type(format), prometheus_text(metrics, format)};
         }},
        {"/healthz", [&metrics, stale_ms,
                      health](std::string_view) { return health(metrics.alive(stale_ms)); }},
        {"/readyz", [&metrics, stale_ms, health](std::string_view) {
             return health(metrics.progressing(stale_ms));
         }}};
    listener_ = HttpListener::open(address.host, address.port, pages);
    if (!listener_)
        throw Refusal(ExitCode::configuration,
                      "could not listen on \"" + options.listen + "\" (option \"http.listen\")",
                      "The address is not of this machine, or the port is taken.",
                      "Choose another port; port 0 takes a free one.");
    log::info("http_listening", {{"address", address.host}, {"port", listener_->port()}});
}

HttpServer::~HttpServer() = default;

int HttpServer::port() const {
    return listener_ ? listener_->port() : 0;
}

} // namespace once
