#include "relay/config/secrets.hpp"

#include "relay/config/kafka_settings.hpp"
#include "relay/config/settings.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include <sys/prctl.h>

namespace once {

namespace {

void overwrite(char *text) {
    std::fill_n(text, std::strlen(text), '*');
}

void hide_setting(char *word) {
    char *equals = std::strchr(word, '=');
    if (equals == nullptr)
        return;
    const std::string_view key(word, static_cast<std::size_t>(equals - word));
    const bool secret = key == "database" ? config::has_password(equals + 1)
                                          : key.starts_with("kafka.") &&
                                                config::is_secret_kafka_setting(key.substr(6));
    if (secret)
        overwrite(equals + 1);
}

// The value of a flag, in the same word or the next one; nullptr: another flag.
char *value_of(char **word, std::string_view flag) {
    const std::string_view text(*word);
    if (text == flag)
        return word[1];
    if (text.starts_with(flag) && text[flag.size()] == '=')
        return *word + flag.size() + 1;
    return nullptr;
}

} // namespace

void hide_secrets(int argc, char **argv) {
    for (int i = 1; i < argc; ++i) {
        if (char *conninfo = value_of(argv + i, "--database");
            conninfo && config::has_password(conninfo))
            overwrite(conninfo);
        if (char *setting = value_of(argv + i, "--set"))
            hide_setting(setting);
    }
}

void keep_memory_private() {
    ::prctl(PR_SET_DUMPABLE, 0);
}

} // namespace once
