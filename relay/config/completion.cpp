// Completion scripts: commands, what follows them, flags, and after --set the keys of all options.
#include "relay/config/commands.hpp"
#include "relay/config/documents.hpp"
#include "relay/config/settings.hpp"
#include "relay/config/table.hpp"

#include <algorithm>

namespace once::config {

namespace {

std::string words_of(std::string_view takes) {
    std::string words(takes);
    std::replace(words.begin(), words.end(), '|', ' ');
    return words;
}

std::string all_commands() {
    std::string names;
    for (const CommandEntry &entry : kCommandTable)
        names += (names.empty() ? "" : " ") + std::string(entry.name);
    return names;
}

std::string all_flags() {
    std::string names;
    for (const FlagEntry &entry : kFlagTable)
        names += (names.empty() ? "" : " ") + std::string(entry.flag);
    for (const Entry<Options> &entry : option_table())
        if (!entry.flag.empty())
            names += " " + std::string(entry.flag);
    return names;
}

std::string all_keys() {
    std::string keys;
    for (const std::string &key : known_keys())
        keys += (keys.empty() ? "" : " ") + key + "=";
    return keys;
}

// The cases of a shell's `case` over the word before: what may follow a command.
std::string cases(std::string_view before, std::string_view after) {
    std::string text;
    for (const CommandEntry &entry : kCommandTable)
        if (!entry.takes.empty())
            text += "        " + std::string(entry.name) + ") " + std::string(before) +
                    words_of(entry.takes) + std::string(after) + " ;;\n";
    return text;
}

std::string bash() {
    return "# bash completion of once-relay\n"
           "_once_relay() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words\n"
           "    case $before in\n"
           "        --config) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
           "        --set) compopt -o nospace; words='" +
           all_keys() + "' ;;\n" + cases("words='", "'") +
           "        once-relay|*/once-relay) words='" + all_commands() + " " + all_flags() +
           "' ;;\n"
           "        *) words='" +
           all_flags() +
           "' ;;\n"
           "    esac\n"
           "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
           "}\n"
           "complete -F _once_relay once-relay\n";
}

std::string zsh() {
    return "#compdef once-relay\n"
           "_once_relay() {\n"
           "    case ${words[CURRENT-1]} in\n"
           "        --config) _files ;;\n"
           "        --set) compadd -S '' -- " +
           all_keys() + " ;;\n" + cases("compadd -- ", "") +
           "        once-relay|*/once-relay) compadd -- " + all_commands() + " " + all_flags() +
           " ;;\n"
           "        *) compadd -- " +
           all_flags() +
           " ;;\n"
           "    esac\n"
           "}\n"
           "_once_relay \"$@\"\n";
}

std::string fish() {
    std::string text = "# fish completion of once-relay\ncomplete -c once-relay -f\n";
    const auto line = [&](const std::string &what, std::string_view help) {
        std::string quoted;
        for (const char c : help)
            quoted += c == '\'' ? std::string("\\'") : std::string(1, c);
        text += "complete -c once-relay " + what + " -d '" + quoted + "'\n";
    };
    for (const CommandEntry &entry : kCommandTable) {
        line("-n __fish_use_subcommand -a " + std::string(entry.name), entry.help);
        if (!entry.takes.empty())
            line("-n '__fish_seen_subcommand_from " + std::string(entry.name) + "' -a '" +
                     words_of(entry.takes) + "'",
                 "");
    }
    for (const FlagEntry &entry : kFlagTable)
        line("-l " + std::string(entry.flag.substr(2)) +
                 (entry.flag == "--config" ? " -r -F"
                  : entry.flag == "--set"  ? " -x -a '" + all_keys() + "'"
                  : entry.takes.empty()    ? ""
                                           : " -x"),
             text_of(entry));
    for (const Entry<Options> &entry : option_table())
        if (!entry.flag.empty())
            line("-l " + std::string(entry.flag.substr(2)) + " -x", entry.help);
    return text;
}

} // namespace

std::string completion(std::string_view shell) {
    return shell == "bash" ? bash() : shell == "zsh" ? zsh() : shell == "fish" ? fish() : "";
}

} // namespace once::config
