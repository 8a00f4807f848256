// What servers and users say, as part of a line of ours: on a terminal and in a log it stays one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace once {

inline std::string one_line(std::string text) {
    for (char &c : text)
        if (static_cast<unsigned char>(c) < ' ' || c == 0x7f)
            c = ' ';
    while (text.ends_with(' '))
        text.pop_back();
    return text;
}

// The same, at most 1,000 bytes, and it ends between two characters: error texts carry payloads.
inline std::string bounded(std::string text) {
    constexpr std::size_t kMostBytes = 1000;
    constexpr std::string_view kCut = " …";
    if (text.size() > kMostBytes) {
        std::size_t end = kMostBytes - kCut.size();
        while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80)
            --end; // in the middle of a character
        text.resize(end);
        text += kCut;
    }
    return one_line(std::move(text));
}

} // namespace once
