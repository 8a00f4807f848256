#include "relay/application.hpp"

#include "relay/act/dead.hpp"
#include "relay/act/tail.hpp"
#include "relay/act/waiting.hpp"
#include "relay/check/check.hpp"
#include "relay/config/command_line.hpp"
#include "relay/config/documents.hpp"
#include "relay/config/init.hpp"
#include "relay/process/crash_point.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/http.hpp"
#include "relay/inbox/run.hpp"
#include "relay/process/log.hpp"
#include "relay/process/metrics.hpp"
#include "relay/outbox/run.hpp"
#include "relay/process/limits.hpp"
#include "relay/process/progress_bar.hpp"
#include "relay/process/standard_error.hpp"
#include "relay/config/secrets.hpp"
#include "relay/status/status.hpp"
#include "relay/process/stop_signal.hpp"
#include "relay/process/supervisor.hpp"
#include "relay/process/workers.hpp"

#include <librdkafka/rdkafka.h>
#include <pqxx/version>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <system_error>

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
    raise_descriptor_limit();
    Metrics metrics;
    const HttpServer http(options.http, metrics);
    log::info("started", {{"command", command}, {"version", ONCE_VERSION}});
    const ProgressBar bar(options, metrics);
    const Supervisor supervisor(metrics, options.http.stale_ms, stop);
    const int code = run(options, metrics, stop);
    log::info("ended", {{"command", command}, {"exit_code", code}});
    return code;
}

int init(const config::CommandLine &line, const config::Settings &settings) {
    const std::string text = config::first_file(settings);
    config::Settings read; // what is written can be read
    config::read_toml(read, text, line.file);
    if (line.request.dry_run)
        std::fputs((text + "\n").c_str(), stdout);
    else if (line.file.empty())
        throw Refusal(ExitCode::usage, "no file named to write", {},
                      "Say init --config FILE, or init --dry-run to see it.");
    else
        config::write_first_file(line.file, text);
    std::fputs(config::first_statements(settings).c_str(), stdout);
    return static_cast<int>(ExitCode::stopped);
}

int run_command(const config::CommandLine &line, const config::Settings &settings) {
    const Options &options = settings.options;
    const bool asks_only =
        line.command != config::Command::outbox && line.command != config::Command::inbox;
    // Who asks is a person: what goes wrong is told in words.
    LogOptions log = options.log;
    if (asks_only && log.level == "info")
        log.level = "error";
    if (asks_only)
        log.format = LogFormat::logfmt;
    log::start(log);
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
    case config::Command::dead:
        return dead(options, line.request);
    case config::Command::lag:
        return lag(options);
    case config::Command::peek:
        return peek(options, line.request);
    case config::Command::tail:
        return tail(options, line.request);
    case config::Command::init:
        return init(line, settings);
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

std::string document(const std::string &name) {
    if (name == "help")
        return config::help_text();
    if (name == "man")
        return config::man_page();
    return name == "markdown" ? config::options_markdown() : config::completion(name);
}

int run_line(const config::CommandLine &line) {
    if (!line.document.empty())
        std::fputs(document(line.document).c_str(), stdout);
    else if (line.version)
        std::printf("once-relay " ONCE_VERSION ", librdkafka %s, libpqxx " PQXX_VERSION "\n",
                    rd_kafka_version_str());
    else if (line.crash_points)
        print_crash_points();
    else
        return run_command(line, config::load(line, environment()));
    return static_cast<int>(ExitCode::stopped);
}

} // namespace

int run_application(int argc, char **argv) {
    // A reader of ours that goes is no reason to end without a word, whatever the command.
    std::signal(SIGPIPE, SIG_IGN);
    keep_memory_private();
    try {
        try {
            const config::CommandLine line = config::parse_command_line(argc, argv);
            hide_secrets(argc, argv);
            return run_line(line);
        } catch (const std::system_error &) {
            std::rethrow_exception(in_words(std::current_exception()));
        }
    } catch (Refusal &refusal) {
        tell(refusal);
        return static_cast<int>(refusal.code);
    } catch (const std::bad_alloc &) {
        write_standard_error("once-relay: out of memory\n");
    } catch (const std::exception &error) {
        Refusal bug(ExitCode::bug, std::string("internal error: ") + error.what(), {},
                    "This is a bug; please report it with the last log lines.");
        tell(bug);
    }
    return static_cast<int>(ExitCode::bug);
}

} // namespace once
