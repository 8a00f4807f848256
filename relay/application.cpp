#include "relay/application.hpp"

#include <cstdio>
#include <string_view>

namespace once {

int run_application(int argc, const char *const *argv) {
    if (argc == 2 && std::string_view(argv[1]) == "--version")
        std::puts("once-relay " ONCE_VERSION);
    return 0;
}

} // namespace once
