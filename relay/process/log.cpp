#include "relay/process/log.hpp"

#include "relay/options.hpp"
#include "relay/process/standard_error.hpp"

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>

#include <nlohmann/json.hpp>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

namespace once::log {

namespace {

using Clock = std::chrono::steady_clock;

// Bounded: at the limit the oldest half of the memory is of no more use than a few repeated lines.
constexpr std::size_t kRememberedLines = 1024;

// So many of a kind in one period are written before the rest is only counted: a state that flaps
// stays visible.
constexpr unsigned kWrittenPerPeriod = 3;

struct Seen {
    Clock::time_point began; // of the period
    unsigned written = 0;
    unsigned held = 0;
};

// Never destroyed, as the logger: a producer that was abandoned in a call, and threads of
// librdkafka, may still write while the process ends.
std::mutex &seen_guard = *new std::mutex;
std::map<std::string, Seen> &seen = *new std::map<std::string, Seen>;
std::atomic<int> repeat_s{60};
std::atomic<bool> json{false};

constexpr const char *kLogfmtPattern = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
constexpr const char *kJsonPattern = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})";

spdlog::level::level_enum level_of(Level level) {
    switch (level) {
    case Level::trace:
        return spdlog::level::trace;
    case Level::debug:
        return spdlog::level::debug;
    case Level::info:
        return spdlog::level::info;
    case Level::warning:
        return spdlog::level::warn;
    case Level::error:
        return spdlog::level::err;
    }
    return spdlog::level::err;
}

std::unique_ptr<spdlog::formatter> formatter(const char *pattern) {
    return std::make_unique<spdlog::pattern_formatter>(pattern, spdlog::pattern_time_type::utc);
}

std::string format(std::string_view event, Fields fields) {
    return json ? format_members(event, fields) : format_line(event, fields);
}

// Whoever logs never waits for the reader; that lines are missing is told as soon as one fits.
class StandardErrorSink : public spdlog::sinks::base_sink<std::mutex> {
  protected:
    void sink_it_(const spdlog::details::log_msg &message) override {
        spdlog::memory_buf_t text;
        formatter_->format(message, text);
        const std::uint64_t before = dropped_texts();
        if (before != told_) {
            const std::string line = format("log_lines_dropped", {{"total", before}});
            formatter_->format({message.logger_name, spdlog::level::warn, line}, text);
        }
        write_standard_error({text.data(), text.size()});
        if (dropped_texts() == before)
            told_ = before;
    }
    void flush_() override {}

  private:
    std::uint64_t told_ = 0;
};

spdlog::logger &logger() {
    static spdlog::logger &made = []() -> spdlog::logger & {
        auto *fresh = new spdlog::logger("once-relay", std::make_shared<StandardErrorSink>());
        fresh->set_formatter(formatter(kLogfmtPattern));
        fresh->flush_on(spdlog::level::trace);
        return *fresh;
    }();
    return made;
}

bool needs_quotes(std::string_view text) {
    if (text.empty())
        return true;
    for (const unsigned char c : text)
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f)
            return true;
    return false;
}

void append_quoted(std::string &line, std::string_view text) {
    line += '"';
    for (const unsigned char c : text) {
        if (c == '"' || c == '\\') {
            line += '\\';
            line += static_cast<char>(c);
        } else if (c == '\n') {
            line += "\\n";
        } else if (c < ' ' || c == 0x7f) {
            line += fmt::format("\\x{:02x}", c);
        } else {
            line += static_cast<char>(c);
        }
    }
    line += '"';
}

// What is no UTF-8 (a server's text may be none) is replaced: the line stays one that can be read.
std::string quoted_json(std::string_view text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// The event and its texts: numbers change with every repeat and say nothing about whether it is
// one.
std::string identity(std::string_view event, Fields fields) {
    std::string name(event);
    for (const Field &field : fields) {
        const bool number = !field.value.empty() &&
                            field.value.find_first_not_of("0123456789.-") == std::string::npos;
        if (!number || field.key == "lane" || field.key == "partition" || field.key == "code")
            name.append("\x1f").append(field.key).append("=").append(field.value);
    }
    return name;
}

// How often the line was held back since it was last written; -1: hold it back now too.
int repeats_or_hold(const std::string &name) {
    const std::lock_guard lock(seen_guard);
    const Clock::time_point now = Clock::now();
    if (seen.size() >= kRememberedLines)
        seen.clear();
    Seen &entry = seen.try_emplace(name, Seen{now}).first->second;
    int held = 0;
    if (now - entry.began >= std::chrono::seconds(repeat_s.load())) {
        held = static_cast<int>(entry.held);
        entry = Seen{now};
    }
    if (entry.written >= kWrittenPerPeriod) {
        ++entry.held;
        return -1;
    }
    ++entry.written;
    return held;
}

} // namespace

void start(const LogOptions &options) {
    logger().set_level(options.level == "off" ? spdlog::level::off
                                              : spdlog::level::from_str(options.level));
    repeat_s = options.repeat_s;
    json = options.format == LogFormat::json;
    logger().set_formatter(formatter(json ? kJsonPattern : kLogfmtPattern));
}

bool in_json() {
    return json;
}

bool enabled(Level level) {
    return logger().should_log(level_of(level));
}

std::string format_line(std::string_view event, Fields fields) {
    std::string line(event);
    for (const Field &field : fields) {
        line.append(" ").append(field.key).append("=");
        if (needs_quotes(field.value))
            append_quoted(line, field.value);
        else
            line += field.value;
    }
    return line;
}

std::string format_members(std::string_view event, Fields fields) {
    std::string members = "\"event\":" + quoted_json(event);
    for (const Field &field : fields)
        members.append(",")
            .append(quoted_json(field.key))
            .append(":")
            .append(field.bare ? field.value : quoted_json(field.value));
    return members;
}

void write_last(std::string_view event, Fields fields) {
    const std::string line = format(event, fields);
    for (const auto &sink : logger().sinks())
        sink->log({logger().name(), spdlog::level::err, line});
}

void write(Level level, std::string_view event, Fields fields) {
    if (!enabled(level))
        return;
    const int repeated = repeats_or_hold(identity(event, fields));
    if (repeated < 0)
        return;
    std::string line = format(event, fields);
    if (repeated > 0)
        line += (json ? ",\"repeated\":" : " repeated=") + std::to_string(repeated);
    logger().log(level_of(level), "{}", line);
}

} // namespace once::log
