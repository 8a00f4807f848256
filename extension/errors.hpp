// Every SQLSTATE of our own. Class ON is ours; where PostgreSQL has a code that says it, that one
// is used: 22004 null, 22023 invalid parameter, 25006 read only, 42501 not authorised, 0A000 not
// supported.
#pragma once

#include "pg/prelude.hpp"

namespace once {

constexpr int kInvalidTopic = MAKE_SQLSTATE('O', 'N', '0', '0', '1');
constexpr int kEventTooLarge = MAKE_SQLSTATE('O', 'N', '0', '0', '2');
constexpr int kInvalidHeader = MAKE_SQLSTATE('O', 'N', '0', '0', '3');
constexpr int kBacklogLimit = MAKE_SQLSTATE('O', 'N', '0', '0', '4');

constexpr int kInvalidConsumer = MAKE_SQLSTATE('O', 'N', '0', '1', '0'); // consumer or id
constexpr int kImplausiblePosition = MAKE_SQLSTATE('O', 'N', '0', '1', '2');

constexpr int kFenced = MAKE_SQLSTATE('O', 'N', '0', '2', '0');
constexpr int kRequestMismatch = MAKE_SQLSTATE('O', 'N', '0', '2', '1'); // raising forms only
constexpr int kNoSuchClaim = MAKE_SQLSTATE('O', 'N', '0', '2', '2');

constexpr int kIllegalTransition = MAKE_SQLSTATE('O', 'N', '0', '3', '0'); // guard
constexpr int kMachineDefinition = MAKE_SQLSTATE('O', 'N', '0', '3', '1'); // ambiguous or unusable
constexpr int kLeaseLost = MAKE_SQLSTATE('O', 'N', '0', '3', '2');

constexpr int kHistoryChanged = MAKE_SQLSTATE('O', 'N', '0', '4', '0'); // rearm needed

} // namespace once
