// What the operating system grants a process, and what a worker needs of it.
#pragma once

#include <cstddef>

namespace once {

// Descriptors: the soft limit of services and shells is 1,024, which 50 lanes need; the hard one is
// ours to use.
void raise_descriptor_limit();

// Logs a warning, with what to do, where fewer descriptors can be had than so many lanes and
// members of groups need with one broker.
void require_descriptors(std::size_t lanes, std::size_t members);

} // namespace once
