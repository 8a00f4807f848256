#include "relay/config/settings.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/http.hpp"
#include "relay/process/whole_number.hpp"

#include <algorithm>

namespace once::config {

namespace {

[[noreturn]] void refuse(const Settings &settings, const std::string &key, const std::string &what,
                         std::string detail = {}, std::string hint = {}) {
    throw Refusal(ExitCode::configuration, what + " (" + settings.origin_of(key) + ")",
                  std::move(detail), std::move(hint));
}

bool valid_port(std::string_view text) {
    const auto port = whole_number<int>(text);
    return port && *port >= 1 && *port <= 65535;
}

void validate_brokers(const Settings &settings) {
    std::string_view rest = settings.options.kafka.brokers;
    for (bool more = true; more;) {
        const std::size_t comma = rest.find(',');
        std::string_view broker = rest.substr(0, comma);
        more = comma != std::string_view::npos;
        rest.remove_prefix(more ? comma + 1 : 0);
        while (broker.starts_with(' '))
            broker.remove_prefix(1);
        const std::size_t colon = broker.rfind(':');
        if (colon == 0 || colon == std::string_view::npos || !valid_port(broker.substr(colon + 1)))
            refuse(settings, "brokers", "cannot use broker \"" + std::string(broker) + "\"",
                   "A broker is host:port, with commas between several.");
    }
}

void require(const Settings &settings, const char *key, bool present, const std::string &flag) {
    if (!present)
        throw Refusal(ExitCode::configuration, "option \"" + std::string(key) + "\" is not set", {},
                      "Give it by " + flag + ", the configuration file or the environment.");
    (void)settings;
}

// What the database takes as a name. Refused there, every message would be parked for it.
void require_name(const Settings &settings, const std::string &key, std::string_view name) {
    const auto control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
    if (name.size() > 255 || std::any_of(name.begin(), name.end(), control))
        refuse(settings, key, "cannot use option \"" + key + "\"",
               "A name has 1 to 255 bytes and no control characters.");
}

// RFC 6901. One that cannot be read matches nothing: no message would have an id.
bool is_json_pointer(std::string_view path) {
    if (!path.starts_with('/'))
        return false;
    for (std::size_t at = path.find('~'); at != std::string_view::npos; at = path.find('~', at + 1))
        if (at + 1 == path.size() || (path[at + 1] != '0' && path[at + 1] != '1'))
            return false;
    return true;
}

// What was put aside is known by its consumer: set free, a message would go to the other handler.
void require_one_handler(const Settings &settings, const std::string &prefix,
                         const InboxOptions &inbox, const InboxOptions &other) {
    if (inbox.consumer == other.consumer &&
        (inbox.handler != other.handler || inbox.per_message != other.per_message))
        refuse(settings, prefix + "consumer",
               "consumer \"" + inbox.consumer + "\" has two handlers", {},
               "Set \"" + prefix + "consumer\": the default is the group.");
}

void validate_inbox(const Settings &settings, std::size_t index) {
    const InboxOptions &inbox = settings.options.inbox[index];
    const std::string prefix = "inbox." + std::to_string(index + 1) + ".";
    if (inbox.topic.empty())
        refuse(settings, prefix + "topic", "option \"" + prefix + "topic\" is not set");
    if (inbox.group.empty())
        refuse(settings, prefix + "group", "option \"" + prefix + "group\" is not set");
    require_name(settings, prefix + "group", inbox.group);
    require_name(settings, prefix + "consumer", inbox.consumer);
    if (inbox.store == !inbox.handler.empty())
        refuse(settings, prefix + "handler",
               inbox.store ? "cannot use both \"" + prefix + "handler\" and \"" + prefix + "store\""
                           : "neither \"" + prefix + "handler\" nor \"" + prefix + "store\" is set",
               "An inbox calls a handler or stores the messages.");
    for (std::size_t other = 0; other < index; ++other)
        require_one_handler(settings, prefix, inbox, settings.options.inbox[other]);
    if (!std::all_of(inbox.id_path.begin(), inbox.id_path.end(), is_json_pointer))
        refuse(settings, prefix + "id_path", "cannot use option \"" + prefix + "id_path\"",
               "A JSON pointer begins with a slash; ~ stands only in ~0 and ~1.");
}

} // namespace

void validate(const Settings &settings, Command command) {
    const Options &options = settings.options;
    const bool needs_database =
        command != Command::print_config && command != Command::init && command != Command::tail;
    const bool needs_kafka = command == Command::outbox || command == Command::inbox ||
                             command == Command::check || command == Command::tail;
    if (needs_database)
        require(settings, "database", settings.origin.contains("database"), "--database");
    if (needs_kafka)
        require(settings, "brokers", !options.kafka.brokers.empty(), "--brokers");
    masked_conninfo(options.database.conninfo);
    if (!options.kafka.brokers.empty())
        validate_brokers(settings);
    if (options.outbox.backoff_min_ms > options.outbox.backoff_max_ms)
        refuse(settings, "outbox.backoff_min_ms",
               "option \"outbox.backoff_min_ms\" is above \"outbox.backoff_max_ms\"");
    if (!options.http.listen.empty())
        check_listen(options.http, settings.origin_of("http.listen"));
    if (command == Command::inbox && options.inbox.empty())
        throw Refusal(ExitCode::configuration, "no [[inbox]] is configured", {},
                      "Add an [[inbox]] with topic, group and handler or store to the file.");
    for (std::size_t index = 0; index < options.inbox.size(); ++index)
        validate_inbox(settings, index);
}

} // namespace once::config
