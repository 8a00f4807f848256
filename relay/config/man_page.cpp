// once-relay(1) in the man macros.
#include "relay/config/commands.hpp"
#include "relay/config/documents.hpp"
#include "relay/config/table.hpp"
#include "relay/process/exit_code.hpp"

namespace once::config {

namespace {

// A backslash begins a request, a line that begins with . or ' is one, and - is a hyphen otherwise.
std::string roff(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\')
            out += "\\e";
        else if (c == '-')
            out += "\\-";
        else
            out += c;
    }
    if (out.starts_with('.') || out.starts_with('\''))
        out.insert(0, "\\&");
    return out;
}

std::string item(std::string_view bold, std::string_view italic, std::string_view text) {
    std::string out = ".TP\n.B " + roff(bold);
    if (!italic.empty())
        out += "\\fR \\fI" + roff(italic) + "\\fR";
    return out + "\n" + roff(text) + "\n";
}

template <typename Owner>
std::string option_item(const Entry<Owner> &entry, const std::string &prefix,
                        const Owner &defaults) {
    const std::string key = prefix + std::string(entry.key);
    std::string text(entry.help);
    if (const std::string value = toml_value(entry, defaults); value != "\"\"" && value != "[]")
        text += " (default " + value + ")";
    text += ". Environment: " + environment_name(key) + ".";
    if (!entry.flag.empty())
        text += " Flag: " + std::string(entry.flag) + ".";
    return item(key, entry.takes, text);
}

} // namespace

std::string man_page() {
    std::string page =
        ".TH ONCE\\-RELAY 1 \"\" \"pg_once " ONCE_VERSION "\" \"pg_once\"\n"
        ".SH NAME\nonce\\-relay \\- what committed in PostgreSQL goes to Kafka, and back, exactly "
        "once\n"
        ".SH SYNOPSIS\n.B once\\-relay\n.I COMMAND\n[\\fIOPTION\\fR]...\n"
        ".SH COMMANDS\n";
    for (const CommandEntry &entry : kCommandTable)
        page += item(entry.name, entry.takes, entry.help);
    page += ".SH FLAGS\n";
    for (const FlagEntry &entry : kFlagTable)
        page += item(entry.flag, entry.takes, text_of(entry));
    page += ".SH OPTIONS\nOf default, file, environment and flags the later wins. An option "
            "\\fIsection.key\\fR is \\fIkey\\fR in the section of the TOML file.\n";
    const Options defaults;
    for (const Entry<Options> &entry : option_table())
        page += option_item(entry, "", defaults);
    page += ".SH INBOX OPTIONS\nOne [[inbox]] table for each group of topics; the first is "
            "inbox.1.\n";
    const InboxOptions inbox;
    for (const Entry<InboxOptions> &entry : inbox_table())
        page += option_item(entry, "inbox.1.", inbox);
    page += ".SH EXIT STATUS\n";
    for (const ExitCodeEntry &entry : kExitCodes)
        page += item(std::to_string(static_cast<int>(entry.code)), "", entry.meaning);
    return page + ".SH SEE ALSO\n.BR psql (1),\n.BR kcat (1)\n";
}

} // namespace once::config
