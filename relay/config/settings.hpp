// Options with the origin of each value. Order of precedence, later wins: default, file,
// environment, flags.
#pragma once

#include "relay/options.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace once::config {

enum class Command { outbox, inbox, status, check, dead, lag, peek, tail, init, print_config };

// One value on its way in, whatever it came from.
struct Assignment {
    std::string key; // TOML path
    std::string value;
    std::string origin; // "flag --set", "environment ONCE_BROKERS", "file once.toml:12"
};

struct Settings {
    Options options;
    std::map<std::string, std::string> origin; // by TOML path; not in here: default
    std::string open_file; // holds a secret, and everybody on this machine may read it

    std::string origin_of(const std::string &key) const;
};

// Each throws Refusal (configuration) that names option, origin and what it takes.
void assign(Settings &settings, const Assignment &assignment);
void read_file(Settings &settings, const std::string &path);
// The text of a file; `path` is its name in refusals.
void read_toml(Settings &settings, std::string_view text, const std::string &path);
void read_environment(Settings &settings, const std::vector<std::string> &environment);

// What a single value cannot show: required ones, address and broker syntax, loopback, [[inbox]]
// completeness.
void validate(const Settings &settings, Command command);

// For "did you mean": every TOML path there is (inbox.1.… once).
std::vector<std::string> known_keys();

// Connection string without its passwords; throws Refusal when libpq cannot read it, or would take
// a part of a password for something that it shows.
std::string masked_conninfo(const std::string &conninfo);
// Also when it cannot be read: then the password may stand anywhere.
bool has_password(const std::string &conninfo);
// `shown_as` is what libpq says of the keyword (dispchar).
bool is_secret_keyword(std::string_view keyword, std::string_view shown_as);

// Effective configuration as TOML with origins and without secrets.
std::string print(const Settings &settings);

} // namespace once::config
