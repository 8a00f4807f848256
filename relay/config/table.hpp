// The one table of options. The TOML file, the environment, the flags, --help and print-config all
// read it; an option exists everywhere as soon as it has a line here.
//
//   TOML path        outbox.max_rows        (and --set outbox.max_rows=N)
//   environment      ONCE_OUTBOX_MAX_ROWS
//   [[inbox]] tables count from 1: inbox.1.topic, ONCE_INBOX_1_TOPIC
#pragma once

#include "relay/options.hpp"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace once::config {

// Where a value goes. The alternative is the option's type.
using Slot = std::variant<std::string *, int *, std::int64_t *, bool *, std::vector<int> *,
                          std::vector<std::string> *, RetryRules *, PoisonPolicy *, InboxStart *,
                          RangePolicy *, NoIdPolicy *, LogFormat *>;

template <typename Owner> struct Entry {
    std::string_view key;
    std::string_view takes; // for help: "N", "ADDR:PORT"; with | the only values there are
    std::string_view help;  // one line, with unit
    Slot (*slot)(Owner &);
    std::int64_t least = 0; // integers only
    std::int64_t most = 0;
    std::string_view flag = {}; // of its own; every option has --set
    bool secret = false;        // contains a password: never echoed
};

std::span<const Entry<Options>> option_table();
std::span<const Entry<InboxOptions>> inbox_table();

std::string environment_name(std::string_view key);

// Text → value. Empty: done; else what the option takes, as a sentence ("It takes an integer from 1
// to 9.").
template <typename Owner>
std::optional<std::string> store(const Entry<Owner> &entry, Owner &owner, std::string_view text);

// Value → TOML.
template <typename Owner> std::string toml_value(const Entry<Owner> &entry, const Owner &owner);

// "an integer from 1 to 9", for help and errors.
template <typename Owner> std::string type_of(const Entry<Owner> &entry);

std::string quote_toml(std::string_view text);

} // namespace once::config
