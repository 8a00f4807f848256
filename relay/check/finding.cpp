#include "relay/check/finding.hpp"

#include "relay/process/one_line.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace once::checks {

namespace {

const char *name_of(Severity severity) {
    switch (severity) {
    case Severity::ok:
        return "ok";
    case Severity::warning:
        return "warning";
    case Severity::error:
        return "error";
    }
    return "error";
}

} // namespace

void Findings::ok(const std::string &area, const std::string &what) {
    list_.push_back({Severity::ok, area, one_line(what), {}, ExitCode::stopped});
}

void Findings::warning(const std::string &area, const std::string &what, const std::string &fix) {
    list_.push_back({Severity::warning, area, one_line(what), one_line(fix), ExitCode::stopped});
}

void Findings::error(ExitCode code, const std::string &area, const std::string &what,
                     const std::string &fix) {
    list_.push_back({Severity::error, area, one_line(what), one_line(fix), code});
}

ExitCode Findings::exit_code() const {
    const auto first = std::find_if(list_.begin(), list_.end(), [](const Finding &finding) {
        return finding.severity == Severity::error;
    });
    return first == list_.end() ? ExitCode::stopped : first->code;
}

std::string Findings::lines() const {
    std::string text;
    std::size_t counts[3] = {};
    for (const Finding &finding : list_) {
        ++counts[static_cast<int>(finding.severity)];
        text +=
            fmt::format("{:<8} {:<9} {}", name_of(finding.severity), finding.area, finding.what);
        text += finding.fix.empty() ? "\n" : "  fix: " + finding.fix + "\n";
    }
    return text + fmt::format("{} ok, {} warnings, {} errors\n", counts[0], counts[1], counts[2]);
}

std::string Findings::json() const {
    nlohmann::ordered_json all = nlohmann::ordered_json::array();
    for (const Finding &finding : list_) {
        nlohmann::ordered_json one = {{"severity", name_of(finding.severity)},
                                      {"area", finding.area},
                                      {"what", finding.what}};
        if (!finding.fix.empty())
            one["fix"] = finding.fix;
        if (finding.severity == Severity::error)
            one["code"] = static_cast<int>(finding.code);
        all.push_back(std::move(one));
    }
    const nlohmann::ordered_json whole = {{"exit_code", static_cast<int>(exit_code())},
                                          {"findings", std::move(all)}};
    return whole.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

} // namespace once::checks
