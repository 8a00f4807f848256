// `once-relay init`: a first configuration file, every option in it with its meaning.
#pragma once

#include "relay/config/settings.hpp"

#include <string>

namespace once::config {

// What was given is set; every other option stands there as a comment, with its default.
std::string first_file(const Settings &settings);

// The statements that make the extension, the relay's role and its rights.
std::string first_statements(const Settings &settings);

// Writes the file, which must not be there yet, for its owner alone (it may hold a password).
// Throws Refusal (configuration).
void write_first_file(const std::string &path, const std::string &text);

} // namespace once::config
