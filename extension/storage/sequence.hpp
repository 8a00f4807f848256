// Numbers from a sequence of ours, without the server's nextval: that one makes it the session's
// last used sequence, and an application that asks lastval() for the id of its own row would get a
// number of ours (or 42501, because it has no right to our sequences).
//
// What is kept of a sequence, and what is logged of it, is the server's: a record stands for the
// next 32 numbers, so that a crash skips numbers and never gives one twice, and the first number
// after a checkpoint is logged again. nextval and these may be called side by side.
//
// Server world: within pg::call. The sequence is open, locked RowExclusiveLock or stronger, of
// increment 1 and cache 1. An ERROR of SQLSTATE 2200H when it has no more numbers.
#pragma once

#include "pg/prelude.hpp"

extern "C" {
#include <utils/rel.h>
}

namespace once {

// The first of `count` successive numbers that nobody else gets.
[[nodiscard]] int64 draw_numbers(Relation sequence, int64 count = 1);

// The last number that was drawn, before and after.
struct Drawn {
    int64 before, after;
};

// Takes all numbers up to and with `last` that are left: none if somebody drew more.
Drawn draw_up_to(Relation sequence, int64 last);

} // namespace once
