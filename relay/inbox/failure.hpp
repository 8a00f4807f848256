// What an SQLSTATE says about what to do next. No other file of the inbox judges one.
//
// A handler is the application's: it meets foreign servers, locks and files of its own, so nearly
// any code can come back for one message for ever while the server is well. `again` there are only
// codes that can mean nothing else.
#pragma once

#include <string_view>

namespace once::inbox {

enum class During {
    own_statement, // fence, dedup, store, claim, park: ours, whatever the message
    handler        // the application's function, and COMMIT, which runs its deferred triggers
};

enum class Failure {
    again,     // the server is short of something: the same transaction, after a pause
    conflict,  // another transaction was in the way: the same, but not for ever
    reconnect, // this session has lost what we left in it
    behind,    // the stored offset is not the one we go on from: claim again
    missing,   // an object of ours is not there: another version
    rights,    // a right is missing
    message    // the message, or what the handler made of it
};

Failure judge(std::string_view sqlstate, During during);

// The same statement may work next time although nothing was repaired.
inline bool passes(Failure failure) {
    return failure == Failure::again || failure == Failure::conflict;
}

} // namespace once::inbox
