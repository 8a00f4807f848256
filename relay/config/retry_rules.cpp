#include "relay/config/retry_rules.hpp"

#include "relay/process/whole_number.hpp"

#include <algorithm>
#include <utility>

namespace once::config {
namespace {

constexpr int kLongestPauseS = 7 * 24 * 3600;
constexpr std::size_t kMostPauses = 100;

// What a handler meets most; every other one has its five characters.
constexpr std::pair<std::string_view, std::string_view> kNames[] = {
    {"connection_exception", "08"},
    {"check_violation", "23514"},
    {"exclusion_violation", "23P01"},
    {"foreign_key_violation", "23503"},
    {"not_null_violation", "23502"},
    {"unique_violation", "23505"},
    {"serialization_failure", "40001"},
    {"deadlock_detected", "40P01"},
    {"transaction_rollback", "40"},
    {"insufficient_privilege", "42501"},
    {"insufficient_resources", "53"},
    {"configuration_limit_exceeded", "53400"},
    {"lock_not_available", "55P03"},
    {"query_canceled", "57014"},
    {"operator_intervention", "57"},
    {"undefined_file", "58P01"},
    {"system_error", "58"},
    {"raise_exception", "P0001"},
    {"no_data_found", "P0002"},
    {"assert_failure", "P0004"},
};

std::optional<std::string> rule_of(std::string_view name) {
    for (const auto &[known, code] : kNames)
        if (name == known)
            return std::string(code);
    const bool code =
        (name.size() == 2 || name.size() == 5) && std::all_of(name.begin(), name.end(), [](char c) {
            return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
        });
    return code || name == "*" ? std::optional(std::string(name)) : std::nullopt;
}

std::optional<int> pause_of(std::string_view text) {
    int unit = 1;
    if (!text.empty() && (text.back() < '0' || text.back() > '9')) {
        const char letter = text.back();
        unit = letter == 's' ? 1 : letter == 'm' ? 60 : letter == 'h' ? 3600 : 0;
        text.remove_suffix(1);
    }
    const auto number = whole_number<int>(text);
    if (unit == 0 || !number || *number < 1 || *number > kLongestPauseS / unit)
        return std::nullopt;
    return *number * unit;
}

} // namespace

std::optional<RetryRules> retry_rules_of(std::string_view text) {
    RetryRules rules;
    if (text.empty()) // said to be none
        rules.pauses_s.clear();
    std::vector<int> *pauses = nullptr;
    while (!text.empty()) {
        const std::size_t end = text.find_first_of(" ,");
        std::string_view word = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        const std::size_t equals = word.find('=');
        if (equals != std::string_view::npos || (pauses == nullptr && !word.empty())) {
            const auto rule =
                rule_of(equals == std::string_view::npos ? "*" : word.substr(0, equals));
            if (!rule)
                return std::nullopt;
            // For every SQLSTATE: also for those that have pauses of their own otherwise.
            if (*rule == "*" && equals == std::string_view::npos)
                rules.pauses_s.clear();
            pauses = &rules.pauses_s[*rule];
            pauses->clear();
            word.remove_prefix(equals == std::string_view::npos ? 0 : equals + 1);
        }
        if (word.empty())
            continue;
        const auto pause = pause_of(word);
        if (!pause || pauses->size() == kMostPauses)
            return std::nullopt;
        pauses->push_back(*pause);
    }
    return rules;
}

std::string to_text(const RetryRules &rules) {
    std::string text;
    for (const auto &[rule, pauses] : rules.pauses_s) {
        // "*" comes first: alone its pauses say that there are no other rules but those behind.
        text += (text.empty() ? "" : ",") + (rule == "*" && !pauses.empty() ? "" : rule + "=");
        for (std::size_t i = 0; i < pauses.size(); ++i)
            text += (i == 0 ? "" : " ") + std::to_string(pauses[i]) + "s";
    }
    return text;
}

} // namespace once::config
