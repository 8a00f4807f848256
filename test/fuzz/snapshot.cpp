// A snapshot's text, out of the position record and out of the server.
#include "extension/wire/snapshot.hpp"

#include "test/fuzz/target.hpp"

using namespace once::wire;
using once::fuzz::hold;

namespace {

// The promises, said with nothing but the three parts.
void check(const Snapshot &snapshot) {
    hold(snapshot.xmin > 0 && snapshot.xmin <= snapshot.xmax, "xmin up to xmax");
    hold(snapshot.sees(snapshot.xmin - 1), "what is below xmin has ended");
    hold(!snapshot.sees(snapshot.xmax), "nothing from xmax on");
    std::uint64_t next = snapshot.xmin;
    std::uint64_t running_at_the_end = 0;
    const std::uint64_t end = snapshot.end();
    for (const std::uint64_t xid : snapshot.xip) {
        hold(xid >= next && xid < snapshot.xmax, "xip rises within its bounds");
        hold(!snapshot.sees(xid), "a running one is not seen");
        hold(xid == next || snapshot.sees(xid - 1), "its neighbour is");
        running_at_the_end += xid >= end;
        next = xid + 1;
    }
    hold(end == next || end == snapshot.xmax || snapshot.sees(end - 1), "the last one seen");
    hold(snapshot.sees(end - 1), "the end is behind one that is seen");
    hold(snapshot.xmax - end == running_at_the_end, "behind the end all are running");
}

void foreign(const std::string &text) {
    const auto snapshot = parse_snapshot(text);
    if (!snapshot)
        return;
    hold(text.find_first_not_of("0123456789:,") == std::string::npos,
         "digits and separators alone: it goes into SQL");
    check(*snapshot);
    hold(parse_snapshot(to_text(*snapshot)) == snapshot, "written and read again");
}

void ours(once::fuzz::Bytes in) {
    Snapshot snapshot;
    snapshot.xmin = 1 + (in.number<std::uint64_t>() >> 1);
    std::uint64_t next = snapshot.xmin;
    while (!in.empty()) {
        next += in.number<std::uint16_t>();
        snapshot.xip.push_back(next++);
    }
    snapshot.xmax = next + snapshot.xmin % 3;
    hold(parse_snapshot(to_text(snapshot)) == snapshot, "parse(to_text(x)) is x");
    check(snapshot);
}

void run(std::string_view input) {
    if (!input.empty() && input.front() >= '0' && input.front() <= '9')
        foreign(std::string(input));
    else
        ours(once::fuzz::Bytes(input));
}

} // namespace

ONCE_FUZZ_TARGET("snapshot", run)
