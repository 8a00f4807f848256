// Metrics and health over HTTP, for scrapers and supervisors on the same machine.
//
//   /metrics  Prometheus text, or OpenMetrics for who asks for it
//   /healthz  200 alive, 503 and the reason: a thread does not come by any more
//   /readyz   200 progressing (a standby is: it does all it can), 503 and the reason: work waits
//   and none is committed
#pragma once

#include "relay/process/http_listener.hpp"
#include "relay/process/metrics.hpp"
#include "relay/options.hpp"

#include <memory>
#include <string>

namespace once {

// Throws Refusal (configuration) for an address that is none, or is not loopback without
// http.allow_remote.
void check_listen(const HttpOptions &options, const std::string &origin);

class HttpServer {
  public:
    // Listens at once, in a thread of its own; throws Refusal (configuration) when the port is
    // taken. Port 0 takes a free one. Does nothing when options.listen is empty.
    HttpServer(const HttpOptions &options, const Metrics &metrics);
    ~HttpServer();
    HttpServer(const HttpServer &) = delete;
    HttpServer &operator=(const HttpServer &) = delete;

    int port() const; // 0: not listening

  private:
    std::unique_ptr<HttpListener> listener_;
};

} // namespace once
