// A few pages over HTTP/1.1 from one thread that never waits for a client: every connection has one
// request, a time for all of it and a size, whatever it does meanwhile; at the end all are closed.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

namespace once {

struct HttpAnswer {
    int status = 200;
    std::string type;
    std::string body;
};

// By path; called in the listener's thread with the whole request. Quick, and does not throw.
using HttpPages = std::map<std::string, std::function<HttpAnswer(std::string_view request)>>;

// Pure part: the answer to what a client sent so far, as it goes over the wire. Empty: the request
// is not complete.
std::string http_response(std::string_view request, const HttpPages &pages);

class HttpListener {
  public:
    // Nothing where the address cannot be had. Port 0 takes a free one.
    static std::unique_ptr<HttpListener> open(const std::string &host, int port, HttpPages pages);
    ~HttpListener();
    HttpListener(const HttpListener &) = delete;
    HttpListener &operator=(const HttpListener &) = delete;

    int port() const { return port_; }

  private:
    using Clock = std::chrono::steady_clock;
    struct Client {
        int socket;
        Clock::time_point until;
        std::string request, response;
        bool answered = false; // what it still sends is read and thrown away until it hangs up
    };

    HttpListener(int socket, int port, HttpPages pages);
    void run();
    void accept_clients();
    // False: done with it.
    bool serve(Client &client);
    bool receive(Client &client);
    bool send(Client &client);
    void drop(std::list<Client>::iterator client);

    const HttpPages pages_;
    const int socket_;
    const int port_;
    int end_fd_;                // readable: stop
    std::list<Client> clients_; // oldest first
    std::thread thread_;
};

} // namespace once
