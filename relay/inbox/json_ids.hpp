// Ids inside a JSON payload: the values at JSON pointers (RFC 6901), as text.
//
// A parser that makes numbers of numbers is of no use here: 18446744073709551616 and its neighbour
// are one double. Numbers are taken as they are written and brought to one spelling (1.0, 1 and
// 10e-1 are one id), of any size.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace once::inbox {

// One value per pointer, in their order: a string as it is, a number in its one spelling. Nothing
// where the pointer finds neither; nothing at all when the payload is no JSON. A member that comes
// twice counts as it came last, as in jsonb.
std::vector<std::optional<std::string>> json_ids(std::string_view payload,
                                                 const std::vector<std::string> &pointers);

// "1.50e1" → "15", "-0" → "0"; beyond 1,000 digits with an exponent.
std::string canonical_number(std::string_view literal);

} // namespace once::inbox
