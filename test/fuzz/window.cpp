// The window over positions, whose bits come back from a row, against a set that remembers all.
#include "extension/inbox/window.hpp"

#include "test/fuzz/target.hpp"

#include <set>

using once::Window;
using once::fuzz::hold;
using Verdict = Window::Verdict;

namespace {

struct Reference {
    std::set<std::int64_t> seen;

    Verdict accept(std::int64_t position) {
        if (position < 0)
            return Verdict::implausible;
        if (!seen.empty()) {
            const std::int64_t highest = *seen.rbegin();
            if (position > highest && position - highest > Window::kFarthestJump)
                return Verdict::implausible;
            if (position <= highest - Window::kSize)
                return Verdict::too_old;
        }
        return seen.insert(position).second ? Verdict::fresh : Verdict::duplicate;
    }
};

std::int64_t next_position(once::fuzz::Bytes &in, std::int64_t highest) {
    const auto step = static_cast<std::int64_t>(in.number<std::uint16_t>());
    const auto up = [&](std::int64_t by) {
        return highest > INT64_MAX - by ? highest : highest + by;
    };
    switch (in.number<std::uint8_t>() % 4) {
    case 0:
        return highest - step % (Window::kSize + 2);
    case 1:
        return up(step % 32);
    case 2:
        return up(step * 4);
    default:
        return in.number<std::int64_t>();
    }
}

void run(std::string_view input) {
    once::fuzz::Bytes in(input);
    Window window;
    Reference reference;
    while (!in.empty()) {
        const std::int64_t position =
            next_position(in, reference.seen.empty() ? 0 : *reference.seen.rbegin());
        if (in.flag() && !reference.seen.empty())
            window = Window(window.highest(), window.bits().data());
        const Window before = window;
        const Verdict foreseen = window.check(position), verdict = window.accept(position);
        hold(verdict == foreseen && verdict == reference.accept(position),
             "the verdict of the set");
        hold(verdict == Verdict::fresh ||
                 (window.highest() == before.highest() && window.bits() == before.bits()),
             "what is not taken leaves nothing behind");
    }
    hold(reference.seen.empty() || window.highest() == *reference.seen.rbegin(), "the highest");
}

} // namespace

ONCE_FUZZ_TARGET("window", run)
