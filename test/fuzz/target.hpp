// What every target shares. Built for libFuzzer (ONCE_LIBFUZZER) a target is a program of its own;
// built with the unit tests all of them stand in one list, which replays the corpus.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace once::fuzz {

// Nobody catches it but the one who runs the target: libFuzzer's process ends, a unit test fails.
struct Broken : std::logic_error {
    using std::logic_error::logic_error;
};

inline void hold(bool property, const char *what) {
    if (!property)
        throw Broken(what);
}

// Values out of the fuzzer's bytes; zero and empty when they have run out.
class Bytes {
  public:
    explicit Bytes(std::string_view bytes) : rest(bytes) {}

    bool empty() const { return rest.empty(); }
    template <typename Number> Number number() {
        std::make_unsigned_t<Number> value = 0;
        for (const char byte : take(sizeof(Number)))
            value = static_cast<decltype(value)>(std::uint64_t{value} << 8 |
                                                 static_cast<unsigned char>(byte));
        return static_cast<Number>(value);
    }
    bool flag() { return number<std::uint8_t>() % 2 != 0; }
    // A length byte and so many bytes: in memory of its own, so that reading past it is seen.
    std::string text() { return std::string(take(number<std::uint8_t>())); }
    std::string all() { return std::string(take(rest.size())); }

  private:
    std::string_view take(std::size_t size) {
        const std::string_view taken = rest.substr(0, size);
        rest.remove_prefix(taken.size());
        return taken;
    }
    std::string_view rest;
};

using Run = void (*)(std::string_view input);
struct Target {
    const char *name; // its folder below corpus/
    Run run;
};
inline std::vector<Target> &targets() {
    static std::vector<Target> all;
    return all;
}

} // namespace once::fuzz

#ifdef ONCE_LIBFUZZER
#define ONCE_FUZZ_TARGET(name, run)                                                                \
    extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {            \
        run({reinterpret_cast<const char *>(data), size});                                         \
        return 0;                                                                                  \
    }
#else
#define ONCE_FUZZ_TARGET(name, run)                                                                \
    [[maybe_unused]] static const bool once_fuzz_listed =                                          \
        (once::fuzz::targets().push_back({name, run}), true);
#endif
