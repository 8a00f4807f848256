// The TOML file. Types are strict here: a number in quotes is a mistake, not a number.
#include "relay/config/kafka_settings.hpp"
#include "relay/config/nearest.hpp"
#include "relay/config/settings.hpp"
#include "relay/config/table.hpp"
#include "relay/process/exit_code.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sys/stat.h>

#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

namespace once::config {

namespace {

constexpr std::string_view kSections[] = {"outbox", "http", "log"};
constexpr std::size_t kMostBytes = 1 << 20; // a configuration, not a data file

std::string position(const std::string &path, const toml::source_region &source) {
    return "file " + path + ":" + std::to_string(source.begin.line);
}

std::string read_text(const std::string &path) {
    errno = 0;
    std::ifstream stream(path, std::ios::binary);
    std::string text(kMostBytes + 1, '\0');
    // A folder opens and fails at the first read.
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(stream.gcount()));
    const bool too_large = text.size() > kMostBytes;
    if (too_large || !stream.eof())
        throw Refusal(ExitCode::configuration,
                      "could not read configuration file \"" + path +
                          "\": " + (too_large ? "larger than 1 MB" : std::strerror(errno)),
                      {}, "Check the path and its permissions.");
    return text;
}

// Numbers and booleans keep their spelling; a list is its elements with commas between.
std::string text_of(const toml::node &node) {
    if (const auto *text = node.as_string())
        return text->get();
    if (const auto *number = node.as_integer())
        return std::to_string(number->get());
    if (const auto *truth = node.as_boolean())
        return truth->get() ? "true" : "false";
    std::string list;
    if (const toml::table *table = node.as_table()) // retry: rule = pauses
        for (const auto &[key, value] : *table)
            list += (list.empty() ? "" : ",") + std::string(key.str()) + "=" + text_of(value);
    if (const toml::array *array = node.as_array())
        for (const toml::node &element : *array)
            list += (list.empty() ? "" : ",") + text_of(element);
    return list;
}

std::string_view kind_of(const toml::node &node) {
    if (node.is_string())
        return "a string";
    if (node.is_integer())
        return "an integer";
    if (node.is_boolean())
        return "a boolean";
    if (node.is_floating_point())
        return "a floating point number";
    if (node.is_array())
        return "a list";
    return node.is_table() ? "a table" : "a date or time";
}

bool list_of_integers(const toml::node &node) {
    const toml::array *array = node.as_array();
    return array != nullptr &&
           std::all_of(array->begin(), array->end(),
                       [](const toml::node &element) { return element.is_integer(); });
}

bool list_of_strings(const toml::node &node) {
    const toml::array *array = node.as_array();
    return array != nullptr &&
           std::all_of(array->begin(), array->end(),
                       [](const toml::node &element) { return element.is_string(); });
}

// Does the TOML type fit the option's? An unknown key fits everything: assign() refuses it with its
// nearest name.
struct Fits {
    const toml::node &node;
    bool list_allowed;

    bool operator()(const std::string *) const {
        return node.is_string() || (list_allowed && list_of_strings(node));
    }
    bool operator()(const int *) const { return node.is_integer(); }
    bool operator()(const std::int64_t *) const { return node.is_integer(); }
    bool operator()(const bool *) const { return node.is_boolean(); }
    bool operator()(const std::vector<std::string> *) const {
        return node.is_string() || list_of_strings(node);
    }
    bool operator()(const RetryRules *) const {
        const toml::table *rules = node.as_table();
        const auto pauses = [](const toml::node &value) {
            return value.is_string() || list_of_strings(value);
        };
        return rules == nullptr ? pauses(node)
                                : std::all_of(rules->begin(), rules->end(), [&](const auto &rule) {
                                      return pauses(rule.second);
                                  });
    }
    bool operator()(const std::vector<int> *) const {
        return node.is_integer() || list_of_integers(node);
    }
    template <typename Enum> bool operator()(const Enum *) const { return node.is_string(); }
};

template <typename Owner>
void check_type(std::span<const Entry<Owner>> table, std::string_view key, const toml::node &node,
                const std::string &full_key, const std::string &origin) {
    for (const Entry<Owner> &entry : table) {
        Owner scratch;
        if (entry.key != key || std::visit(Fits{node, key == "brokers"}, entry.slot(scratch)))
            continue;
        throw Refusal(ExitCode::configuration,
                      "cannot use " + std::string(kind_of(node)) + " for option \"" + full_key +
                          "\" (" + origin + ")",
                      "It takes " + type_of(entry) + ".");
    }
}

bool holds_secret(const Settings &settings) {
    const auto &kafka = settings.options.kafka.passthrough;
    return has_password(settings.options.database.conninfo) ||
           std::any_of(kafka.begin(), kafka.end(),
                       [](const auto &one) { return is_secret_kafka_setting(one.first); });
}

// The group may be one made for this.
bool everybody_reads(const std::string &path) {
    struct stat file {};
    return ::stat(path.c_str(), &file) == 0 && (file.st_mode & S_IROTH) != 0;
}

class Reader {
  public:
    Reader(Settings &into, const std::string &file) : settings_(into), path_(file) {}

    void read(const toml::table &root) {
        for (const auto &[key, node] : root) {
            const std::string name(key.str());
            if (name == "kafka")
                kafka(table(name, node), "kafka");
            else if (name == "inbox")
                inboxes(node);
            else if (std::find(std::begin(kSections), std::end(kSections), name) !=
                     std::end(kSections))
                section(table(name, node), name);
            else if (node.is_table())
                refuse_section(name, node);
            else
                option(name, node);
        }
    }

  private:
    void section(const toml::table &content, const std::string &name) {
        for (const auto &[key, node] : content)
            option(name + "." + std::string(key.str()), node);
    }

    void option(const std::string &key, const toml::node &node) {
        const std::string origin = position(path_, node.source());
        check_type(option_table(), key, node, key, origin);
        assign(settings_, {key, text_of(node), origin});
    }

    // `sasl.username = …` makes nested tables out of the dots of a property's name.
    void kafka(const toml::table &content, const std::string &prefix) {
        for (const auto &[key, node] : content) {
            const std::string name = prefix + "." + std::string(key.str());
            if (const toml::table *nested = node.as_table())
                kafka(*nested, name);
            else
                assign(settings_, {name, text_of(node), position(path_, node.source())});
        }
    }

    void inboxes(const toml::node &node) {
        const toml::array *array = node.as_array();
        if (array == nullptr || !array->is_homogeneous(toml::node_type::table))
            throw Refusal(ExitCode::configuration,
                          "cannot use " + std::string(kind_of(node)) + " for option \"inbox\" (" +
                              position(path_, node.source()) + ")",
                          "Each inbox is a table of its own.", "Begin it with [[inbox]].");
        int number = 0;
        for (const toml::node &element : *array) {
            const std::string prefix = "inbox." + std::to_string(++number) + ".";
            for (const auto &[key, value] : *element.as_table()) {
                const std::string full_key = prefix + std::string(key.str());
                const std::string origin = position(path_, value.source());
                check_type(inbox_table(), key.str(), value, full_key, origin);
                assign(settings_, {full_key, text_of(value), origin});
            }
        }
    }

    const toml::table &table(const std::string &name, const toml::node &node) const {
        if (const toml::table *content = node.as_table())
            return *content;
        throw Refusal(ExitCode::configuration,
                      "cannot use " + std::string(kind_of(node)) + " for section \"" + name +
                          "\" (" + position(path_, node.source()) + ")",
                      {}, "Begin the section with [" + name + "].");
    }

    [[noreturn]] void refuse_section(const std::string &name, const toml::node &node) const {
        std::vector<std::string> sections{"kafka", "inbox"};
        sections.insert(sections.end(), std::begin(kSections), std::end(kSections));
        throw Refusal(
            ExitCode::configuration,
            "unknown section \"" + name + "\" (" + position(path_, node.source()) + ")", {},
            did_you_mean(name, sections, "Sections are kafka, outbox, inbox, http, log."));
    }

    Settings &settings_;
    const std::string &path_;
};

} // namespace

void read_file(Settings &settings, const std::string &path) {
    read_toml(settings, read_text(path), path);
    if (holds_secret(settings) && everybody_reads(path))
        settings.open_file = path;
}

void read_toml(Settings &settings, std::string_view text, const std::string &path) {
    toml::table root;
    try {
        root = toml::parse(text, path);
    } catch (const toml::parse_error &error) {
        throw Refusal(ExitCode::configuration,
                      "cannot read configuration (" + position(path, error.source()) + ")",
                      std::string(error.description()) + ".");
    }
    Reader(settings, path).read(root);
}

} // namespace once::config
