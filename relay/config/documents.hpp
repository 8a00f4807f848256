// The option table as people and shells read it.
#pragma once

#include <string>
#include <string_view>

namespace once::config {

std::string help_text();

// once-relay(1), for man.
std::string man_page();

// Every command, option and exit code as Markdown: relay/OPTIONS.md.
std::string options_markdown();

// A script for "bash", "zsh" or "fish"; empty for any other shell.
std::string completion(std::string_view shell);

} // namespace once::config
