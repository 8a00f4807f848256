#include "relay/act/waiting.hpp"

#include "relay/act/ask.hpp"
#include "relay/options.hpp"
#include "relay/process/exit_code.hpp"
#include "relay/request.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace once {

namespace {

using act::Json;
using act::text;

constexpr const char *kLag =
    "SELECT jsonb_build_object('lane', s.lane, 'events', s.backlog, 'exact', s.backlog_exact, "
    "'oldest_s', round(extract(epoch FROM s.oldest_unshipped)::numeric, 3), "
    "'reported_s', round(extract(epoch FROM s.report_age)::numeric, 3), 'holder', s.holder) "
    "FROM once.status() s ORDER BY s.lane";

// What the last reported position has not passed, as once.lane_backlog counts it.
std::string waiting(int lane) {
    return fmt::format(
        "WITH r AS (SELECT r.position FROM once.relay_report r WHERE r.lane = {0}), "
        "p AS MATERIALIZED (SELECT coalesce((SELECT r.position ->> CASE WHEN r.position ->> "
        "'slice_seq' IS NULL THEN 's_now' ELSE 's_prev' END FROM r), '1:1:')::pg_snapshot passed, "
        "(SELECT (r.position ->> 'slice_seq')::bigint FROM r) seq, "
        "coalesce((SELECT r.position ->> 's_now' FROM r), '1:1:')::pg_snapshot now) "
        "SELECT jsonb_build_object('lane', {0}, 'seq', e.seq, 'id', e.id, 'topic', e.topic, "
        "'key', e.key, 'published', e.time, "
        "'form', CASE e.form WHEN 'j' THEN 'json' WHEN 't' THEN 'text' ELSE 'bytes' END, "
        "'payload', e.payload) FROM once.event_{0} e, p "
        "WHERE NOT pg_visible_in_snapshot(e.xid, p.passed) "
        "AND NOT (coalesce(e.seq <= p.seq, false) AND pg_visible_in_snapshot(e.xid, p.now)) "
        "AND ($1::text IS NULL OR e.topic = $1) "
        "AND ($2::text IS NULL OR e.key = convert_to($2, 'UTF8')) AND (NOT $3::bool OR e.key IS "
        "NULL) "
        "AND ($4::uuid IS NULL OR e.id = $4) ORDER BY e.seq LIMIT $5::int",
        lane);
}

bool is_wanted(const Options &options, int lane) {
    const auto &lanes = options.outbox.lanes;
    return lanes.empty() || std::find(lanes.begin(), lanes.end(), lane) != lanes.end();
}

} // namespace

int lag(const Options &options) {
    Json lanes = Json::array();
    for (const Json &lane : act::rows(options.database, false, kLag))
        if (is_wanted(options, lane["lane"].get<int>()))
            lanes.push_back(lane);
    if (options.json)
        act::print(lanes);
    else
        for (const Json &lane : lanes)
            fmt::print("lane {:<3} {:>10} events  oldest {} s  reported {} s ago  holder {}\n",
                       text(lane, "lane"),
                       (lane["exact"] == true ? "" : "~") + text(lane, "events"),
                       text(lane, "oldest_s"), text(lane, "reported_s"), text(lane, "holder"));
    std::fflush(stdout);
    return static_cast<int>(ExitCode::stopped);
}

int peek(const Options &options, const Request &request) {
    Json events = Json::array();
    for (const Json &lane : act::rows(options.database, false,
                                      "SELECT to_jsonb(l.lane) FROM once.lane l ORDER BY l.lane")) {
        if (!is_wanted(options, lane.get<int>()))
            continue;
        const int left = request.limit.value_or(act::kLimit) - static_cast<int>(events.size());
        for (Json &event :
             act::rows(options.database, false, waiting(lane.get<int>()), request.topic,
                       request.key, request.no_key, request.id, left)) {
            event["key"] = act::readable(event["key"]);
            event["payload"] = act::readable(event["payload"]);
            events.push_back(std::move(event));
        }
    }
    if (options.json)
        act::print(events);
    else
        for (const Json &event : events)
            fmt::print("lane {} seq {}  {}  topic {}  key {}  published {}\n", text(event, "lane"),
                       text(event, "seq"), text(event, "id"), text(event, "topic"),
                       event["key"].is_null() ? "null" : event["key"].dump(),
                       text(event, "published"));
    std::fflush(stdout);
    return static_cast<int>(ExitCode::stopped);
}

} // namespace once
