// What servers and users say, as part of a line of ours: on a terminal and in a log it stays one.
#pragma once

#include <string>

namespace once {

inline std::string one_line(std::string text) {
    for (char &c : text)
        if (static_cast<unsigned char>(c) < ' ' || c == 0x7f)
            c = ' ';
    while (text.ends_with(' '))
        text.pop_back();
    return text;
}

} // namespace once
