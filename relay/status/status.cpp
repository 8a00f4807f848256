#include "relay/status/status.hpp"

#include "relay/postgres/question.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/process/one_line.hpp"
#include "relay/options.hpp"
#include "relay/status/kafka.hpp"

#include <cstdio>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace once {

namespace {

using Json = nlohmann::ordered_json;

// Parked keys are listed up to here; the count is always told.
constexpr const char *kMostKeys = "50";

// Intervals as seconds: JSON has no other.
constexpr const char *kLanes =
    "SELECT to_jsonb(s) - 'oldest_unshipped' - 'report_age' || jsonb_build_object("
    "'oldest_unshipped_s', extract(epoch FROM s.oldest_unshipped), "
    "'report_age_s', extract(epoch FROM s.report_age)) FROM once.status() s ORDER BY s.lane";

const std::string kKeys =
    std::string("SELECT to_jsonb(k) FROM (SELECT d.lane, d.topic, d.key, count(*) AS entries, "
                "min(d.seq) AS first_seq, (array_agg(d.error ORDER BY d.seq))[1] AS error, "
                "bool_or(d.wanted) AS wanted FROM once.dead_letter d LEFT JOIN once.relay_report r "
                "USING (lane) WHERE d.stamp IS NULL OR "
                "d.stamp > coalesce((r.position ->> 'redrive_no')::bigint, 0) "
                "GROUP BY 1, 2, 3 ORDER BY 1, 5 LIMIT ") +
    kMostKeys + ") k";

Json rows_of(postgres::Session &session, const std::string &sql) {
    Json all = Json::array();
    for (const auto &row : postgres::ask(session, sql))
        all.push_back(Json::parse(row[0].as<std::string>()));
    return all;
}

Json ask_database(const Options &options) {
    try {
        const auto session = postgres::open_session(options.database);
        Json whole = {{"relay_version", ONCE_VERSION}};
        whole["extension_version"] = postgres::ask_text(
            *session, "SELECT extversion FROM pg_extension WHERE extname = 'pg_once'");
        if (whole["extension_version"] == "")
            throw Refusal(ExitCode::mismatch,
                          "extension \"pg_once\" is not in database \"" +
                              postgres::ask_text(*session, "SELECT current_database()") + "\"",
                          {}, "CREATE EXTENSION pg_once.");
        whole["lanes"] = rows_of(*session, kLanes);
        whole["parked_keys"] = rows_of(*session, kKeys);
        return whole;
    } catch (const postgres::SqlError &error) {
        const std::string what = error.what();
        if (error.sqlstate == "42501")
            throw Refusal(ExitCode::database, "missing privilege: " + what, {},
                          "Give the role its rights: SELECT once.grant_relay('role').");
        throw Refusal(ExitCode::mismatch, "could not ask once.status(): " + what, error.detail,
                      "Install extension and once-relay of one version.");
    } catch (const postgres::SessionLost &failure) {
        throw Refusal(ExitCode::database, std::string("could not connect: ") + failure.what(), {},
                      "Check the option \"database\" and the network.");
    }
}

void keep_wanted_lanes(const Options &options, Json &whole) {
    if (options.outbox.lanes.empty())
        return;
    Json kept = Json::array();
    for (const Json &lane : whole["lanes"])
        for (const int number : options.outbox.lanes)
            if (lane["lane"] == number)
                kept.push_back(lane);
    whole["lanes"] = std::move(kept);
}

std::string text(const Json &object, const char *name) {
    const auto found = object.find(name);
    if (found == object.end() || found->is_null())
        return "-";
    return found->is_string() ? one_line(found->get<std::string>()) : found->dump();
}

std::string duration(const Json &object, const char *name) {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_number())
        return "-";
    const double seconds = found->get<double>();
    if (seconds < 120)
        return fmt::format("{:.1f} s", seconds);
    return seconds < 7200 ? fmt::format("{:.0f} min", seconds / 60)
                          : fmt::format("{:.1f} h", seconds / 3600);
}

std::string bytes(const Json &object, const char *name) {
    const auto found = object.find(name);
    return found == object.end() || !found->is_number()
               ? "-"
               : fmt::format("{:.1f} MB", found->get<double>() / 1048576);
}

std::string counter_of(const Json &position) {
    return position.is_object() ? text(position, "counter") : "-";
}

void print_lane(const Json &lane) {
    const Json report = lane.value("report", Json());
    const Json reported = report.is_object() ? report.value("position", Json()) : Json();
    const bool exact = lane.value("backlog_exact", true);
    fmt::print("{:<5} {:<8} {:>10} {:>9} {:>10} {:>12} {:>12} {:>8} {:>10}\n", text(lane, "lane"),
               text(lane, "holder"), (exact ? "" : "~") + text(lane, "backlog"),
               duration(lane, "oldest_unshipped_s"), duration(lane, "report_age_s"),
               counter_of(reported), counter_of(lane.value("kafka_position", Json())),
               text(lane, "parked"), bytes(lane, "size_bytes"));
}

void print_remarks(const Json &whole) {
    for (const Json &lane : whole["lanes"]) {
        const std::string name = "lane " + text(lane, "lane");
        if (text(lane, "holder") == "-")
            fmt::print("{}: no relay holds it\n", name);
        if (text(lane, "armed") == "false")
            fmt::print("{}: nothing was shipped yet\n", name);
        if (text(lane, "mode") != "-")
            fmt::print("{}: rearmed with \"{}\", begins so at the relay's next start\n", name,
                       text(lane, "mode"));
        if (text(lane, "kafka_problem") != "-" && text(lane, "armed") == "true")
            fmt::print("{}: position in Kafka: {}\n", name, text(lane, "kafka_problem"));
        const Json blockers = lane.value("trim_blockers", Json());
        for (const Json &blocker : blockers.is_array() ? blockers : Json::array())
            fmt::print("{}: trimming waits for {} {} ({}, {}) since {}\n", name,
                       blocker.contains("gid") ? "prepared transaction" : "process",
                       text(blocker, blocker.contains("gid") ? "gid" : "pid"),
                       text(blocker, "application"), text(blocker, "state"),
                       text(blocker, "since"));
    }
    for (const Json &key : whole["parked_keys"])
        fmt::print("lane {}: {} parked in topic \"{}\" key {}{}: {}\n", text(key, "lane"),
                   text(key, "entries"), text(key, "topic"),
                   key["key"].is_null() ? "null" : key["key"].dump(),
                   text(key, "wanted") == "true" ? ", redrive wanted" : "", text(key, "error"));
}

void print_table(const Json &whole) {
    fmt::print("once-relay {}, extension {}\n", text(whole, "relay_version"),
               text(whole, "extension_version"));
    if (text(whole, "kafka_cluster_id") != "-")
        fmt::print("Kafka cluster {}\n", text(whole, "kafka_cluster_id"));
    fmt::print("{:<5} {:<8} {:>10} {:>9} {:>10} {:>12} {:>12} {:>8} {:>10}\n", "lane", "holder",
               "backlog", "oldest", "reported", "as reported", "in Kafka", "parked", "size");
    for (const Json &lane : whole["lanes"])
        print_lane(lane);
    print_remarks(whole);
}

} // namespace

int status(const Options &options) {
    Json whole = ask_database(options);
    keep_wanted_lanes(options, whole);
    std::optional<Refusal> unreachable; // told after what the database knows
    try {
        if (!options.kafka.brokers.empty())
            add_kafka_positions(options, whole);
    } catch (const Refusal &refusal) {
        unreachable = refusal;
    }
    if (options.json)
        std::puts(whole.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
    else
        print_table(whole);
    std::fflush(stdout);
    if (unreachable)
        throw Refusal(*unreachable);
    return static_cast<int>(ExitCode::stopped);
}

} // namespace once
