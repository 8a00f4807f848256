#include "relay/check/check.hpp"

#include "relay/check/checks.hpp"

#include <cstdio>

namespace once {

int check(const Options &options, const CheckScope &scope) {
    checks::Findings findings;
    checks::Facts facts;
    checks::check_server(options, findings);
    // Whoever cannot connect has nothing more to ask the database; Kafka is worth a look all the
    // same.
    const bool connected = findings.exit_code() != ExitCode::database || findings.all().size() > 1;
    if (scope.outbox && connected)
        checks::check_outbox(options, findings, facts);
    if (scope.outbox)
        checks::check_kafka(options, facts, findings);
    if (scope.inbox && connected)
        checks::check_inboxes(options, findings);
    if (!scope.open_file.empty())
        findings.warning("config",
                         "everybody on this machine may read a secret in file \"" +
                             scope.open_file + "\"",
                         "chmod o-r " + scope.open_file);
    const std::string text = options.json ? findings.json() : findings.lines();
    std::fputs(text.c_str(), stdout);
    return static_cast<int>(findings.exit_code());
}

} // namespace once
