#include "relay/options.hpp"

#include <initializer_list>

namespace once {

std::string_view to_string(PoisonPolicy policy) {
    switch (policy) {
    case PoisonPolicy::hold_key:
        return "hold_key";
    case PoisonPolicy::skip:
        return "skip";
    case PoisonPolicy::stop:
        return "stop";
    }
    return "unknown";
}

std::string_view to_string(InboxStart start) {
    switch (start) {
    case InboxStart::earliest:
        return "earliest";
    case InboxStart::latest:
        return "latest";
    case InboxStart::refuse:
        return "refuse";
    }
    return "unknown";
}

std::string_view to_string(RangePolicy policy) {
    switch (policy) {
    case RangePolicy::stop:
        return "stop";
    case RangePolicy::skip:
        return "skip";
    }
    return "unknown";
}

std::string_view to_string(LogFormat format) {
    switch (format) {
    case LogFormat::logfmt:
        return "logfmt";
    case LogFormat::json:
        return "json";
    }
    return "unknown";
}

std::string_view to_string(NoIdPolicy policy) {
    switch (policy) {
    case NoIdPolicy::place:
        return "place";
    case NoIdPolicy::park:
        return "park";
    case NoIdPolicy::stop:
        return "stop";
    }
    return "unknown";
}

const std::vector<int> &RetryRules::delays_s(std::string_view sqlstate) const {
    static const std::vector<int> kNone;
    for (const std::string_view rule : {sqlstate, sqlstate.substr(0, 2), std::string_view("*")})
        if (const auto found = pauses_s.find(rule); found != pauses_s.end())
            return found->second;
    return kNone;
}

std::map<std::string, std::vector<int>, std::less<>> RetryRules::defaults() {
    const std::vector<int> growing = {1, 10, 60, 600, 3600};
    return {{"08", growing}, {"23503", growing}, {"25006", growing},
            {"40", growing}, {"53", growing},    {"55P03", growing},
            {"57", growing}, {"57014", {}},      {"58", growing}};
}

} // namespace once
