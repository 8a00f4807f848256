#include "relay/act/dead.hpp"

#include "relay/act/ask.hpp"
#include "relay/options.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/request.hpp"

#include <fmt/format.h>

namespace once {

namespace {

using act::Json;
using act::text;

// An entry with a stamp above the position's is being shipped; below, it was, and is none any more.
constexpr std::string_view kWaiting =
    " FROM once.dead_letter d LEFT JOIN once.relay_report r USING (lane) "
    "WHERE (d.stamp IS NULL OR d.stamp > coalesce((r.position ->> 'redrive_no')::bigint, 0)) "
    "AND ($1::text IS NULL OR d.topic = $1) "
    "AND ($2::text IS NULL OR d.key = convert_to($2, 'UTF8')) AND (NOT $3::bool OR d.key IS NULL) "
    "AND ($4::uuid IS NULL OR d.id = $4) ORDER BY d.lane, d.seq LIMIT $5::int";

constexpr std::string_view kEntry =
    "SELECT jsonb_build_object('lane', d.lane, 'seq', d.seq, 'id', d.id, 'topic', d.topic, "
    "'key', d.key, 'published', d.time, 'parked', d.parked_at, 'policy', d.policy, "
    "'wanted', d.wanted OR d.stamp IS NOT NULL, 'error', d.error)";
constexpr std::string_view kContent =
    " || jsonb_build_object('partition', d.partition, 'headers', d.headers, "
    "'form', CASE d.form WHEN 'j' THEN 'json' WHEN 't' THEN 'text' ELSE 'bytes' END, "
    "'payload', d.payload)";

Json entries(const Options &options, const Request &request, std::string_view content) {
    std::string sql(kEntry);
    sql.append(content).append(kWaiting);
    Json all = act::rows(options.database, false, sql, request.topic, request.key, request.no_key,
                         request.id, request.limit.value_or(act::kLimit));
    for (Json &entry : all)
        for (const char *name : {"key", "payload"})
            if (entry.contains(name))
                entry[name] = act::readable(entry[name]);
    return all;
}

void list(const Options &options, const Request &request) {
    const Json all = entries(options, request, "");
    if (options.json)
        return act::print(all);
    for (const Json &entry : all)
        fmt::print("{}  topic {}  key {}  parked {}{}{}\n    {}\n", text(entry, "id"),
                   text(entry, "topic"), entry["key"].is_null() ? "null" : entry["key"].dump(),
                   text(entry, "parked"),
                   text(entry, "policy") == "hold_key" ? "  holds its key" : "",
                   text(entry, "wanted") == "true" ? "  redrive wanted" : "", text(entry, "error"));
    fmt::print("{} parked{}\n", all.size(),
               static_cast<int>(all.size()) == request.limit.value_or(act::kLimit)
                   ? ", or more: see --limit"
                   : "");
}

void show(const Options &options, const Request &request) {
    if (!request.id)
        throw Refusal(ExitCode::usage, "no event named", {}, "Say dead show --id ID.");
    const Json all = entries(options, request, kContent);
    if (all.empty())
        throw Refusal(ExitCode::usage, "event " + *request.id + " is not parked", {},
                      "See once-relay dead list.");
    if (options.json)
        return act::print(all);
    for (const Json &entry : all)
        for (const auto &[name, value] : entry.items())
            fmt::print("{:<10} {}\n", name, text(entry, name.c_str()));
}

void redrive(const Options &options, const Request &request) {
    const bool of_key = request.topic && (request.key || request.no_key);
    if (of_key == request.all || request.id)
        throw Refusal(ExitCode::usage, "which events to redrive is not said", {},
                      "Say --topic TOPIC with --key KEY or --no-key, or --all.");
    const Json answer =
        request.all
            ? act::rows(options.database, !request.dry_run, "SELECT to_jsonb(once.redrive_all())")
            : act::rows(options.database, !request.dry_run, "SELECT to_jsonb(once.redrive($1, $2))",
                        request.topic, request.key);
    const Json marked = answer.at(0);
    if (options.json)
        return act::print({{"redrive", marked}, {"dry_run", request.dry_run}});
    if (request.dry_run)
        fmt::print("would ask for {} more\n", marked.dump());
    else
        fmt::print("{} more are wanted; the relay ships them as soon as it can\n", marked.dump());
}

} // namespace

int dead(const Options &options, const Request &request) {
    if (request.action == "list")
        list(options, request);
    else if (request.action == "show")
        show(options, request);
    else
        redrive(options, request);
    std::fflush(stdout);
    return static_cast<int>(ExitCode::stopped);
}

} // namespace once
