// pg_snapshot in its text form, `xmin:xmax:xip,xip,…`: what is visible in it and what is not.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace once::wire {

struct Snapshot {
    uint64_t xmin = 0;         // everything below is finished
    uint64_t xmax = 0;         // nothing from here on is
    std::vector<uint64_t> xip; // rising; running at that moment, xmin <= xip < xmax

    bool operator==(const Snapshot &) const = default;

    // Finished when the snapshot was taken. (A finished one may have rolled back: it left no row.)
    [[nodiscard]] bool sees(uint64_t xid) const {
        if (xid < xmin)
            return true;
        return xid < xmax && !std::binary_search(xip.begin(), xip.end(), xid);
    }

    // One behind the last transaction it sees. What it names behind that may be forgotten by a
    // crash.
    [[nodiscard]] uint64_t end() const {
        uint64_t end = xmax;
        for (auto running = xip.rbegin(); running != xip.rend() && *running == end - 1; ++running)
            --end;
        return end;
    }
};

[[nodiscard]] inline std::string to_text(const Snapshot &snapshot) {
    std::string text = std::to_string(snapshot.xmin) + ':' + std::to_string(snapshot.xmax) + ':';
    for (size_t i = 0; i < snapshot.xip.size(); ++i)
        text.append(i ? "," : "").append(std::to_string(snapshot.xip[i]));
    return text;
}

// Nothing when the text is no snapshot, PostgreSQL's own rules: xmin <= xmax, xip rising and within
// them.
[[nodiscard]] inline std::optional<Snapshot> parse_snapshot(std::string_view text) {
    const char *at = text.data(), *const end = at + text.size();
    const auto number = [&](uint64_t &value) {
        const auto [rest, fault] = std::from_chars(at, end, value);
        const bool good = fault == std::errc() && rest != at;
        at = rest;
        return good;
    };
    const auto character = [&](char wanted) { return at != end && *at++ == wanted; };
    Snapshot snapshot;
    if (!number(snapshot.xmin) || !character(':') || !number(snapshot.xmax) || !character(':'))
        return std::nullopt;
    if (snapshot.xmin == 0 || snapshot.xmin > snapshot.xmax)
        return std::nullopt;
    while (at != end) {
        uint64_t xid = 0;
        if ((!snapshot.xip.empty() && !character(',')) || !number(xid))
            return std::nullopt;
        if (xid < snapshot.xmin || xid >= snapshot.xmax ||
            (!snapshot.xip.empty() && xid <= snapshot.xip.back()))
            return std::nullopt;
        snapshot.xip.push_back(xid);
    }
    return snapshot;
}

} // namespace once::wire
