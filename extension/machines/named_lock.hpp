// Advisory locks of our own class, by name.
#pragma once

#include "digest/digest.hpp"

extern "C" {
#include <storage/lock.h>
}

#include <string_view>

namespace once {

// What a name is a name of: equal names of different spaces are different locks.
enum class LockSpace : char {
    names = 'n',
    machine = 'm',
    key_order = 'k',
    key_draw = 'd',
    deliver = 's'
};

LOCKTAG lock_tag(LockSpace space, std::string_view name);

} // namespace once
