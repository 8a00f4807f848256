#include "relay/options.hpp"

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

} // namespace once
