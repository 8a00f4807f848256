#include "relay/config/commands.hpp"

namespace once::config {

std::string in_words(std::string_view choices, std::string_view last) {
    std::string text;
    for (std::size_t at = 0; at < choices.size();) {
        const std::size_t end = std::min(choices.find('|', at), choices.size());
        if (at > 0)
            text.append(end == choices.size() ? last : ", ");
        text.append(choices.substr(at, end - at));
        at = end + 1;
    }
    return text;
}

std::string text_of(const FlagEntry &flag) {
    const std::string where = in_words(flag.commands, ", ");
    return where + (where.empty() ? "" : ": ") + std::string(flag.help);
}

} // namespace once::config
