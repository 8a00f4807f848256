#include "relay/process/exit_code.hpp"

#include "relay/process/log.hpp"
#include "relay/process/one_line.hpp"
#include "relay/process/standard_error.hpp"

namespace once {

void tell(Refusal &refusal) {
    if (std::exchange(refusal.told, true))
        return;
    if (log::in_json()) {
        log::write_last("refused", {{"message", refusal.what()},
                                    {"detail", refusal.detail},
                                    {"hint", refusal.hint},
                                    {"exit_code", static_cast<int>(refusal.code)}});
        return;
    }
    std::string text = "once-relay: " + one_line(refusal.what()) + "\n";
    if (!refusal.detail.empty())
        text += "detail: " + one_line(refusal.detail) + "\n";
    if (!refusal.hint.empty())
        text += "hint: " + one_line(refusal.hint) + "\n";
    write_standard_error(text);
}

} // namespace once
