#include "relay/process/http_listener.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <system_error>
#include <vector>

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace once {
namespace {

constexpr std::size_t kMostRequestBytes = 8192;
// From accept to the last byte of the answer.
constexpr std::chrono::seconds kClientTime{5};
// At once; the oldest has to go for a new one. A flood must not take the process's descriptors.
constexpr std::size_t kMostClients = 64;
constexpr int kBacklog = 64;
constexpr int kMostReads = 16; // of one client at a stretch: the others have their turn

std::string_view reason_of(int status) {
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 431:
        return "Request Header Fields Too Large";
    default:
        return "Service Unavailable";
    }
}

std::string on_the_wire(const HttpAnswer &answer, bool with_body) {
    std::string text = "HTTP/1.1 " + std::to_string(answer.status) + " " +
                       std::string(reason_of(answer.status)) + "\r\nContent-Type: " + answer.type +
                       "\r\nContent-Length: " + std::to_string(answer.body.size()) +
                       "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n";
    return with_body ? text + answer.body : text;
}

HttpAnswer refusal(int status) {
    return {status, "text/plain", std::string(reason_of(status)) + "\n"};
}

int port_of(int socket) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(socket, reinterpret_cast<sockaddr *>(&address), &size) != 0)
        return 0;
    return ntohs(address.ss_family == AF_INET6
                     ? reinterpret_cast<const sockaddr_in6 &>(address).sin6_port
                     : reinterpret_cast<const sockaddr_in &>(address).sin_port);
}

// No SO_REUSEPORT: a second relay on the port would take every other request, unnoticed.
int listening_socket(const std::string &host, int port) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    addrinfo *found = nullptr;
    if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0)
        return -1;
    int socket = -1;
    for (const addrinfo *one = found; one != nullptr && socket < 0; one = one->ai_next) {
        socket = ::socket(one->ai_family, one->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                          one->ai_protocol);
        if (socket < 0)
            continue;
        const int on = 1;
        ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (::bind(socket, one->ai_addr, one->ai_addrlen) != 0 || ::listen(socket, kBacklog) != 0) {
            ::close(socket);
            socket = -1;
        }
    }
    ::freeaddrinfo(found);
    return socket;
}

} // namespace

std::string http_response(std::string_view request, const HttpPages &pages) {
    const std::size_t end = request.find("\r\n\r\n");
    if (end == std::string_view::npos)
        return request.size() < kMostRequestBytes ? std::string() : on_the_wire(refusal(431), true);
    const std::string_view line = request.substr(0, request.find("\r\n"));
    const std::size_t method_end = line.find(' ');
    const std::size_t path_end = line.find(' ', method_end + 1);
    if (method_end == std::string_view::npos || path_end == std::string_view::npos ||
        !line.substr(path_end + 1).starts_with("HTTP/1."))
        return on_the_wire(refusal(400), true);
    const std::string_view method = line.substr(0, method_end);
    if (method != "GET" && method != "HEAD")
        return on_the_wire(refusal(405), true);
    std::string_view path = line.substr(method_end + 1, path_end - method_end - 1);
    path = path.substr(0, path.find('?'));
    const auto page = pages.find(std::string(path));
    return on_the_wire(page == pages.end() ? refusal(404) : page->second(request), method == "GET");
}

std::unique_ptr<HttpListener> HttpListener::open(const std::string &host, int port,
                                                 HttpPages pages) {
    const int socket = listening_socket(host, port);
    if (socket < 0)
        return nullptr;
    return std::unique_ptr<HttpListener>(
        new HttpListener(socket, port_of(socket), std::move(pages)));
}

HttpListener::HttpListener(int socket, int port, HttpPages pages)
    : pages_(std::move(pages)), socket_(socket), port_(port),
      end_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (end_fd_ < 0)
        throw std::system_error(errno, std::generic_category(), "could not create an eventfd");
    thread_ = std::thread([this] { run(); });
}

HttpListener::~HttpListener() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(end_fd_, &one, sizeof one);
    thread_.join();
    for (const Client &client : clients_)
        ::close(client.socket);
    ::close(socket_);
    ::close(end_fd_);
}

void HttpListener::run() {
    std::vector<pollfd> wanted;
    for (;;) {
        wanted = {{end_fd_, POLLIN, 0}, {socket_, POLLIN, 0}};
        for (const Client &client : clients_)
            wanted.push_back(
                {client.socket, static_cast<short>(client.response.empty() ? POLLIN : POLLOUT), 0});
        int wait_ms = -1;
        if (!clients_.empty()) // the oldest is the first whose time is over
            wait_ms = static_cast<int>(
                std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(
                                              clients_.front().until - Clock::now())
                                                  .count() +
                                              1));
        ::poll(wanted.data(), wanted.size(), wait_ms);
        if (wanted[0].revents != 0)
            return;
        const auto now = Clock::now();
        std::size_t place = 2;
        for (auto client = clients_.begin(); client != clients_.end();) {
            const auto next = std::next(client);
            const bool ready = wanted[place++].revents != 0;
            if (client->until <= now || (ready && !serve(*client)))
                drop(client);
            client = next;
        }
        if (wanted[1].revents != 0)
            accept_clients();
    }
}

void HttpListener::accept_clients() {
    for (;;) {
        const int socket = ::accept4(socket_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket < 0) {
            // Out of descriptors the connection stays in the backlog, and poll() would tell of it
            // at once: somebody has to go.
            if ((errno == EMFILE || errno == ENFILE) && !clients_.empty())
                drop(clients_.begin());
            else if (errno == EMFILE || errno == ENFILE)
                std::this_thread::sleep_for(std::chrono::milliseconds(100));
            return;
        }
        if (clients_.size() >= kMostClients)
            drop(clients_.begin());
        clients_.push_back({socket, Clock::now() + kClientTime, {}, {}});
    }
}

bool HttpListener::serve(Client &client) {
    return client.response.empty() ? receive(client) : send(client);
}

bool HttpListener::receive(Client &client) {
    char bytes[4096];
    for (int turn = 0; turn < kMostReads; ++turn) {
        const ssize_t size = ::recv(client.socket, bytes, sizeof bytes, 0);
        if (size < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        if (size == 0)
            return false;
        if (client.answered)
            continue;
        client.request.append(bytes, static_cast<std::size_t>(size));
        client.response = http_response(client.request, pages_);
        if (!client.response.empty())
            return send(client);
    }
    return true;
}

// Closing at once would reset a client that is still sending, and it might not see the answer.
bool HttpListener::send(Client &client) {
    client.answered = true;
    while (!client.response.empty()) {
        const ssize_t size =
            ::send(client.socket, client.response.data(), client.response.size(), MSG_NOSIGNAL);
        if (size < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        client.response.erase(0, static_cast<std::size_t>(size));
    }
    ::shutdown(client.socket, SHUT_WR);
    return true;
}

void HttpListener::drop(std::list<Client>::iterator client) {
    ::close(client->socket);
    clients_.erase(client);
}

} // namespace once
