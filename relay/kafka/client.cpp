#include "relay/kafka/client.hpp"

#include "relay/process/exit_code.hpp"
#include "relay/process/log.hpp"
#include "relay/options.hpp"

#include <chrono>
#include <cstring>
#include <future>
#include <mutex>
#include <thread>

#include <syslog.h>

namespace once::kafka {
namespace {

// Why the last connection of any client failed; librdkafka tells nobody but its log.
std::mutex failure_mutex;
std::string failure;

// "[thrd:…]: " in front of the reason and the milliseconds behind it are for librdkafka's
// developers.
void remember_failure(std::string_view text) {
    if (text.starts_with("[thrd:"))
        if (const auto end = text.find("]: "); end != std::string_view::npos)
            text.remove_prefix(end + 3);
    text = text.substr(0, text.rfind(" (after "));
    const std::lock_guard lock(failure_mutex);
    failure = text;
}

void on_error(rd_kafka_t *client, int code, const char *reason, void *) noexcept {
    try {
        log::debug("kafka_error",
                   {{"client", rd_kafka_name(client)},
                    {"error", rd_kafka_err2name(static_cast<rd_kafka_resp_err_t>(code))},
                    {"text", reason}});
    } catch (...) {
    }
}

void set(rd_kafka_conf_t *conf, const std::string &name, const std::string &value) {
    char reason[512];
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), reason, sizeof reason) !=
        RD_KAFKA_CONF_OK)
        throw Refusal(ExitCode::configuration, "Kafka setting \"" + name + "\" is not accepted",
                      std::string(reason) + ".",
                      "See the configuration reference of librdkafka " +
                          std::string(rd_kafka_version_str()) + ".");
}

} // namespace

// librdkafka retries by itself and talks about each attempt: what matters to an operator comes out
// of outcomes and states, this is for the curious.
void log_line(const rd_kafka_t *client, int level, const char *facility,
              const char *text) noexcept {
    try {
        if (std::strcmp(facility, "FAIL") == 0)
            remember_failure(text);
        log::write(level <= LOG_ERR ? log::Level::warning : log::Level::debug, "kafka",
                   {{"client", rd_kafka_name(client)}, {"facility", facility}, {"text", text}});
    } catch (...) {
    }
}

Conf make_conf(const KafkaOptions &options, const Settings &role, rd_kafka_type_t) {
    Conf conf(rd_kafka_conf_new());
    set(conf.get(), "bootstrap.servers", options.brokers);
    set(conf.get(), "client.id", "once-relay");
    // Back soon after a broker's restart: the default waits up to 10 s.
    set(conf.get(), "reconnect.backoff.ms", "50");
    set(conf.get(), "reconnect.backoff.max.ms", "1000");
    set(conf.get(), "socket.keepalive.enable", "true");
    set(conf.get(), "log.connection.close", "false");
    // Below the transaction timeout: a request that hangs is sent again while that still helps.
    set(conf.get(), "socket.timeout.ms", std::to_string(options.request_timeout_ms));
    for (const auto &[name, value] : role)
        set(conf.get(), name, value);
    for (const auto &[name, value] : options.passthrough)
        set(conf.get(), name, value);
    rd_kafka_conf_set_log_cb(conf.get(), log_line);
    rd_kafka_conf_set_error_cb(conf.get(), on_error);
    return conf;
}

Client make_client(Conf conf, rd_kafka_type_t type) {
    char reason[512];
    Client client(rd_kafka_new(type, conf.get(), reason, sizeof reason));
    if (!client) {
        // Settings that do not go together, or something of the moment: no thread could be started.
        const bool settings = rd_kafka_last_error() == RD_KAFKA_RESP_ERR__INVALID_ARG;
        throw Refusal(settings ? ExitCode::configuration : ExitCode::kafka,
                      std::string("cannot make a Kafka client: ") + reason, {},
                      settings ? "Look at the [kafka] settings." : "Start the relay again.");
    }
    static_cast<void>(conf.release()); // belongs to the client now
    return client;
}

void destroy_or_leave(Client client, std::shared_ptr<void> kept) noexcept {
    constexpr std::chrono::seconds kPatience{3};
    try {
        std::packaged_task<void()> destroy(
            [handle = client.get(), kept = std::move(kept)] { rd_kafka_destroy(handle); });
        const std::future<void> done = destroy.get_future();
        std::thread(std::move(destroy)).detach();
        static_cast<void>(client.release()); // the thread's now
        if (done.wait_for(kPatience) == std::future_status::timeout)
            log::warning("kafka_client_left", {{"reason", "it does not end"}});
    } catch (const std::exception &) {
        // No thread could be started: the owner waits for it after all.
    }
}

std::string because() {
    // Before, it sent a nonce that brokers since Kafka 4 refuse, as if the password were wrong
    // (#4895).
    constexpr int kScramMended = 0x020601ff;
    const std::lock_guard lock(failure_mutex);
    const bool old_scram =
        failure.find("SCRAM") != std::string::npos && rd_kafka_version() < kScramMended;
    // An alert comes from the broker, and says no more than its number.
    const bool certificate = failure.find("alert") != std::string::npos &&
                             (failure.find("certificate") != std::string::npos ||
                              failure.find("unknown ca") != std::string::npos);
    return (failure.empty() ? "" : ": " + failure) +
           (certificate ? "; the broker wants a certificate of the client that it trusts "
                          "(kafka.ssl.certificate.location)"
                        : "") +
           (old_scram ? std::string("; librdkafka ") + rd_kafka_version_str() +
                            " cannot log in by SCRAM to Kafka 4, 2.6.1 and later can"
                      : std::string());
}

std::string no_answer(const std::string &brokers) {
    return "no broker answers at " + brokers + because();
}

std::string cluster_id(rd_kafka_t *client, int timeout_ms) {
    char *id = rd_kafka_clusterid(client, timeout_ms);
    const std::string text = id == nullptr ? "" : id;
    if (id != nullptr)
        rd_kafka_mem_free(client, id);
    return text;
}

} // namespace once::kafka
