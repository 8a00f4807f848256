// A subtransaction around server calls of which one error is expected.
#pragma once

#include "pg/boundary.hpp"

extern "C" {
#include <utils/resowner.h>
}

namespace pg {

// False: `fn` raised this SQLSTATE, and what it did is undone. Any other error is thrown on. Like
// the body of call() it must not throw; what it opens it closes.
template <typename F> [[nodiscard]] bool attempt(int sqlstate, F &&fn) {
    const MemoryContext context = CurrentMemoryContext;
    const ResourceOwner owner = CurrentResourceOwner;
    ErrorData *failed = nullptr;
    call([] { BeginInternalSubTransaction(nullptr); });
    MemoryContextSwitchTo(context);
    try {
        call([&] {
            fn();
            ReleaseCurrentSubTransaction();
        });
    } catch (const Error &error) {
        failed = error.data();
    }
    if (failed)
        call([] { RollbackAndReleaseCurrentSubTransaction(); });
    MemoryContextSwitchTo(context);
    CurrentResourceOwner = owner;
    if (failed && failed->sqlerrcode != sqlstate)
        throw Error(failed);
    return !failed;
}

} // namespace pg
