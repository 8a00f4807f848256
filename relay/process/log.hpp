// Log lines: one event name and key=value fields on one line to stderr. State changes, not
// iterations; never payloads.
//
//   log::info("lane_acquired", {{"lane", 0}, {"waited_ms", 120}});
//     → 2026-01-31T12:00:00.123Z info lane_acquired lane=0 waited_ms=120
//
// With log.format = json the same as one JSON object; numbers and truths are no strings there:
//     → {"time":"2026-01-31T12:00:00.123Z","level":"info","event":"lane_acquired","lane":0,…}
//
// The same event with the same texts (numbers may differ) is written three times within
// log.repeat_s, then counted; the first line of the next period carries repeated=N.
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

namespace once {
struct LogOptions;
}

namespace once::log {

enum class Level { trace, debug, info, warning, error };

// A key and its value as text; quoted when it holds blanks, quotes or control characters.
struct Field {
    std::string_view key;
    std::string value;
    bool bare = false; // a number or a truth, which JSON has, too

    Field(std::string_view name, std::string_view text) : key(name), value(text) {}
    Field(std::string_view name, const std::string &text) : key(name), value(text) {}
    Field(std::string_view name, const char *text) : key(name), value(text) {}
    Field(std::string_view name, bool truth)
        : key(name), value(truth ? "true" : "false"), bare(true) {}
    template <typename Number>
    requires(std::integral<Number> || std::floating_point<Number>)
        Field(std::string_view name, Number number)
        : key(name), value(std::to_string(number)), bare(is_finite(number)) {}

  private:
    // JSON has no infinity and nothing that is no number.
    template <typename Number> static bool is_finite(Number number) {
        return number - number == Number{};
    }
};
using Fields = std::initializer_list<Field>;

void start(const LogOptions &options);
bool enabled(Level level);
void write(Level level, std::string_view event, Fields fields = {});
// What ends the process: whatever the level, and never held back as a repeat.
void write_last(std::string_view event, Fields fields);
bool in_json();

inline void debug(std::string_view event, Fields fields = {}) {
    write(Level::debug, event, fields);
}
inline void info(std::string_view event, Fields fields = {}) {
    write(Level::info, event, fields);
}
inline void warning(std::string_view event, Fields fields = {}) {
    write(Level::warning, event, fields);
}
inline void error(std::string_view event, Fields fields = {}) {
    write(Level::error, event, fields);
}

// One line without its time and level: what write() prints, for tests and for the file that prints
// it. As JSON it is the members of an object.
std::string format_line(std::string_view event, Fields fields);
std::string format_members(std::string_view event, Fields fields);

} // namespace once::log
