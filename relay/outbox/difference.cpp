#include "relay/outbox/difference.hpp"

namespace once::outbox {
namespace {

std::string xid8(std::uint64_t xid) {
    return "'" + std::to_string(xid) + "'::xid8";
}

} // namespace

std::string Difference::finished_since() const {
    std::string list;
    for (const std::uint64_t xid : before.xip)
        if (now.sees(xid))
            list += (list.empty() ? "" : ",") + std::to_string(xid);
    return list;
}

bool Difference::possible() const {
    return before.xmax < now.xmax || !finished_since().empty();
}

// Two branches and no OR: each is an index scan by itself, where an OR would need a bitmap.
std::string Difference::narrow(std::size_t rows) const {
    const std::string select =
        std::string("SELECT ") + kEventColumns + " FROM " + table() + " WHERE ";
    std::string branches;
    if (before.xmax < now.xmax) {
        branches = select + "xid >= " + xid8(before.xmax) + " AND xid < " + xid8(now.xmax);
        if (!now.xip.empty())
            branches += " AND pg_visible_in_snapshot(xid, '" + now_text + "')";
    }
    if (const std::string list = finished_since(); !list.empty())
        branches += (branches.empty() ? "" : " UNION ALL ") + select + "xid = ANY ('{" + list +
                    "}'::xid8[])";
    return std::string("SELECT ") + kEventColumns + " FROM (SELECT * FROM (" + branches +
           ") AS branch LIMIT " + std::to_string(rows) + ") AS piece ORDER BY seq";
}

std::string Difference::wide(std::int64_t after, std::int64_t until, std::size_t rows) const {
    return std::string("SELECT ") + kEventColumns + " FROM " + table() + " WHERE seq > " +
           std::to_string(after) + " AND seq <= " + std::to_string(until) +
           " AND pg_visible_in_snapshot(xid, '" + now_text + "')" +
           " AND NOT pg_visible_in_snapshot(xid, '" + before_text + "')" + " ORDER BY seq LIMIT " +
           std::to_string(rows);
}

// `seq + 0`: a bare min(seq) is answered by walking the primary key from its start.
std::string Difference::lowest_of_running() const {
    const std::string list = finished_since();
    if (list.empty())
        return "SELECT NULL::bigint";
    return "SELECT min(seq + 0) FROM " + table() + " WHERE xid = ANY ('{" + list + "}'::xid8[])";
}

} // namespace once::outbox
