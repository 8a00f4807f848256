#include "relay/process/crash_point.hpp"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <unistd.h>

namespace once {
namespace crash {
namespace {

std::atomic<long> passages_left{1};

CrashPoint choose() {
    const char *text = std::getenv("ONCE_CRASH_AT");
    if (text == nullptr || *text == '\0')
        return CrashPoint::none;
    std::string name = text;
    if (const auto colon = name.find(':'); colon != std::string::npos) {
        passages_left = std::max(1L, std::atol(name.c_str() + colon + 1));
        name.resize(colon);
    }
    for (std::size_t i = 1; i < kCrashPointNames.size(); ++i)
        if (kCrashPointNames[i] == name)
            return static_cast<CrashPoint>(i);
    // A misspelt name would make a crash test pass without a crash.
    std::fprintf(stderr, "once-relay: unknown crash point \"%s\"\n", name.c_str());
    std::_Exit(1);
}

} // namespace

CrashPoint chosen = choose();

void passed() noexcept {
    if (--passages_left == 0)
        ::kill(::getpid(), SIGKILL);
}

} // namespace crash

bool disabled_by_test(Rule rule) noexcept {
    static const std::string &rules = *new std::string([] {
        const char *text = std::getenv("ONCE_TEST_DISABLE");
        return "," + std::string(text == nullptr ? "" : text) + ",";
    }()); // never destroyed: a thread of a producer may ask while the process ends
    constexpr std::string_view names[] = {",r1,", ",position_in_transaction,", ",topic_ids,"};
    return rules.find(names[static_cast<std::size_t>(rule)]) != std::string::npos;
}

} // namespace once
