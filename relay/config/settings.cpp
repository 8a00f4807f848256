#include "relay/config/settings.hpp"

#include "relay/config/kafka_settings.hpp"
#include "relay/config/nearest.hpp"
#include "relay/config/table.hpp"
#include "relay/process/exit_code.hpp"

#include <algorithm>
#include <charconv>

namespace once::config {

namespace {

constexpr std::size_t kMostInboxes = 64;
constexpr std::string_view kInboxPrefix = "inbox.";
constexpr std::string_view kKafkaPrefix = "kafka.";

template <typename Owner>
const Entry<Owner> *find(std::span<const Entry<Owner>> table, std::string_view key) {
    const auto found = std::find_if(table.begin(), table.end(),
                                    [&](const Entry<Owner> &entry) { return entry.key == key; });
    return found == table.end() ? nullptr : &*found;
}

[[noreturn]] void refuse_unknown(const Assignment &assignment) {
    throw Refusal(ExitCode::configuration,
                  "unknown option \"" + assignment.key + "\" (" + assignment.origin + ")", {},
                  did_you_mean(assignment.key, known_keys(), "See once-relay --help."));
}

template <typename Owner>
void assign_to(const Entry<Owner> &entry, Owner &owner, const Assignment &assignment) {
    const auto problem = store(entry, owner, assignment.value);
    if (!problem)
        return;
    const std::string shown =
        entry.secret ? std::string("the value") : quote_toml(assignment.value);
    throw Refusal(ExitCode::configuration,
                  "cannot use " + shown + " for option \"" + assignment.key + "\" (" +
                      assignment.origin + ")",
                  *problem);
}

// "inbox.2.topic": the second table, which may be the next new one.
void assign_inbox(Settings &settings, const Assignment &assignment) {
    const std::string_view rest = std::string_view(assignment.key).substr(kInboxPrefix.size());
    const std::size_t dot = rest.find('.');
    std::size_t number = 0;
    const auto parsed =
        std::from_chars(rest.data(), rest.data() + std::min(dot, rest.size()), number);
    std::vector<InboxOptions> &inboxes = settings.options.inbox;
    if (dot == std::string_view::npos || parsed.ptr != rest.data() + dot || number == 0)
        refuse_unknown(assignment);
    if (number > inboxes.size() + 1 || number > kMostInboxes)
        throw Refusal(ExitCode::configuration,
                      "cannot set option \"" + assignment.key + "\" (" + assignment.origin + ")",
                      "There are " + std::to_string(inboxes.size()) +
                          " [[inbox]] tables; the next is number " +
                          std::to_string(inboxes.size() + 1) + ", the most are " +
                          std::to_string(kMostInboxes) + ".");
    const Entry<InboxOptions> *entry = find(inbox_table(), rest.substr(dot + 1));
    if (entry == nullptr)
        refuse_unknown(assignment);
    if (number <= inboxes.size()) {
        assign_to(*entry, inboxes[number - 1], assignment);
        return;
    }
    InboxOptions next;
    assign_to(*entry, next, assignment);
    inboxes.push_back(std::move(next));
}

} // namespace

std::string Settings::origin_of(const std::string &key) const {
    const auto found = origin.find(key);
    return found == origin.end() ? "default" : found->second;
}

void assign(Settings &settings, const Assignment &assignment) {
    const std::string_view key = assignment.key;
    if (key.starts_with(kKafkaPrefix)) {
        const std::string_view name = key.substr(kKafkaPrefix.size());
        check_kafka_setting(name, assignment.value, assignment.origin);
        settings.options.kafka.passthrough[std::string(name)] = assignment.value;
    } else if (key.starts_with(kInboxPrefix)) {
        assign_inbox(settings, assignment);
    } else if (const Entry<Options> *entry = find(option_table(), key)) {
        assign_to(*entry, settings.options, assignment);
    } else {
        refuse_unknown(assignment);
    }
    settings.origin[assignment.key] = assignment.origin;
}

std::vector<std::string> known_keys() {
    std::vector<std::string> keys;
    for (const auto &entry : option_table())
        keys.emplace_back(entry.key);
    for (const auto &entry : inbox_table())
        keys.push_back("inbox.1." + std::string(entry.key));
    return keys;
}

} // namespace once::config
