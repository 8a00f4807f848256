// Who may count on a machine's definition, and who may take states out of it: a lock per machine.
#pragma once

#include <string_view>

namespace once {

// Until the transaction ends nobody removes states from the machine. To be taken before machine()
// is asked: its commit is known here once we have the lock. Machines do not wait for each other.
void hold_definition(std::string_view machine);

} // namespace once
