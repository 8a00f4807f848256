#include "relay/application.hpp"

#include "relay/check/check.hpp"
#include "relay/config/command_line.hpp"
#include "relay/process/crash_point.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/http.hpp"
#include "relay/inbox/run.hpp"
#include "relay/process/log.hpp"
#include "relay/process/metrics.hpp"
#include "relay/process/one_line.hpp"
#include "relay/outbox/run.hpp"
#include "relay/process/progress_bar.hpp"
#include "relay/config/secrets.hpp"
#include "relay/status/status.hpp"
#include "relay/process/stop_signal.hpp"

#include <librdkafka/rdkafka.h>
#include <pqxx/version>

#include <cstdio>
#include <exception>
#include <new>

extern char **environ; // NOLINT: POSIX names it so

namespace once {

namespace {

std::vector<std::string> environment() {
    std::vector<std::string> all;
    for (char **variable = environ; variable != nullptr && *variable != nullptr; ++variable)
        all.emplace_back(*variable);
    return all;
}

// One worker command with all that accompanies it: signals, health, progress.
template <typename Run> int run_worker(const Options &options, const char *command, Run run) {
    StopSignal stop;
    stop.listen_to_signals();
    Metrics metrics;
    const HttpServer http(options.http, metrics);
    log::info("started", {{"command", command}, {"version", ONCE_VERSION}});
    const ProgressBar bar(options, metrics);
    const int code = run(options, metrics, stop);
    log::info("ended", {{"command", command}, {"exit_code", code}});
    return code;
}

int run_command(const config::CommandLine &line, const config::Settings &settings) {
    const Options &options = settings.options;
    const bool asks_only =
        line.command == config::Command::check || line.command == config::Command::status;
    log::start(asks_only && options.log.level == "info" ? LogOptions{.level = "error"}
                                                        : options.log);
    if (!settings.open_file.empty())
        log::warning("secret_readable", {{"file", settings.open_file},
                                         {"hint", "chmod o-r, or keep passwords elsewhere"}});
    switch (*line.command) {
    case config::Command::outbox:
        return run_worker(options, "outbox", outbox::run);
    case config::Command::inbox:
        return run_worker(options, "inbox", inbox::run);
    case config::Command::status:
        return status(options);
    case config::Command::check:
        return check(options, {.outbox = line.check_outbox,
                               .inbox = line.check_inbox,
                               .open_file = settings.open_file});
    case config::Command::print_config:
        std::fputs(config::print(settings).c_str(), stdout);
        return static_cast<int>(ExitCode::stopped);
    }
    return static_cast<int>(ExitCode::bug);
}

void print_crash_points() {
    for (const std::string_view name : kCrashPointNames)
        if (name != "none")
            std::printf("%.*s\n", static_cast<int>(name.size()), name.data());
}

int run_line(const config::CommandLine &line) {
    if (line.help || line.version || line.crash_points || line.options_markdown) {
        if (line.help)
            std::fputs(config::help_text().c_str(), stdout);
        else if (line.version)
            std::printf("once-relay " ONCE_VERSION ", librdkafka %s, libpqxx " PQXX_VERSION "\n",
                        rd_kafka_version_str());
        else if (line.options_markdown)
            std::fputs(config::options_markdown().c_str(), stdout);
        else
            print_crash_points();
        return static_cast<int>(ExitCode::stopped);
    }
    return run_command(line, config::load(line, environment()));
}

int report(const Refusal &refusal) {
    std::fprintf(stderr, "once-relay: %s\n", one_line(refusal.what()).c_str());
    if (!refusal.detail.empty())
        std::fprintf(stderr, "detail: %s\n", one_line(refusal.detail).c_str());
    if (!refusal.hint.empty())
        std::fprintf(stderr, "hint: %s\n", one_line(refusal.hint).c_str());
    return static_cast<int>(refusal.code);
}

} // namespace

int run_application(int argc, char **argv) {
    keep_memory_private();
    try {
        const config::CommandLine line = config::parse_command_line(argc, argv);
        hide_secrets(argc, argv);
        return run_line(line);
    } catch (const Refusal &refusal) {
        return report(refusal);
    } catch (const std::bad_alloc &) {
        std::fputs("once-relay: out of memory\n", stderr);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "once-relay: internal error: %s\n", one_line(error.what()).c_str());
        std::fputs("hint: This is a bug; please report it with the last log lines.\n", stderr);
    }
    return static_cast<int>(ExitCode::bug);
}

} // namespace once
