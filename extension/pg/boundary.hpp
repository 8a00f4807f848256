// The boundary between two error worlds. PostgreSQL reports an error by longjmp, which skips
// destructors; C++ reports one by exception, which must not cross PostgreSQL's frames.
//
//   pg::entry(f)   around the body of every SQL-callable function: C++ exception → PostgreSQL ERROR
//   pg::call(f)    around server calls that may ERROR: PostgreSQL ERROR → C++ exception (pg::Error)
//
// Inside the body of pg::call only trivially destructible locals may live: a longjmp leaves it half
// way. A caught pg::Error is thrown on; swallowing one without a subtransaction leaves the server's
// state undefined.
#pragma once

#include "pg/prelude.hpp"

#include <csetjmp>
#include <exception>
#include <new>
#include <string>
#include <utility>

namespace pg {

// A PostgreSQL ERROR on its way through C++ frames, with all of its ErrorData.
class Error : public std::exception {
  public:
    explicit Error(ErrorData *data) noexcept : data_(data) {}
    const char *what() const noexcept override { return data_->message ? data_->message : "error"; }
    [[nodiscard]] ErrorData *data() const noexcept { return data_; }

  private:
    ErrorData *data_; // lives until the transaction ends
};

// An error of our own: thrown anywhere in C++, reported by entry() as an ERROR with this SQLSTATE.
struct Failure {
    int sqlstate;
    std::string message;
    std::string detail{};
    std::string hint{};
};

template <typename F> auto call(F &&fn) -> decltype(fn()) {
    struct Restore {
        sigjmp_buf *stack = PG_exception_stack;
        ErrorContextCallback *context = error_context_stack;
        ~Restore() {
            PG_exception_stack = stack;
            error_context_stack = context;
        }
    } restore;
    const MemoryContext caller = CurrentMemoryContext;
    sigjmp_buf here;
    if (sigsetjmp(here, 0) == 0) {
        PG_exception_stack = &here;
        return fn();
    }
    PG_exception_stack = restore.stack;
    error_context_stack = restore.context;
    // The frames that unwind may delete the caller's context (SPI_finish does) before the error is
    // reported.
    MemoryContextSwitchTo(TopTransactionContext ? TopTransactionContext : TopMemoryContext);
    ErrorData *data = CopyErrorData();
    MemoryContextSwitchTo(caller);
    FlushErrorState();
    throw Error(data);
}

// What a caught exception leaves behind once its catch block has ended: plain pointers, nothing to
// destroy.
struct Pending {
    ErrorData *server = nullptr;
    int sqlstate = 0;
    char *message = nullptr;
    char *detail = nullptr;
    char *hint = nullptr;
};

// noexcept and without ERROR: out of memory here would jump out of a catch block.
inline char *keep(const std::string &text) noexcept {
    if (text.empty())
        return nullptr;
    auto *copy = static_cast<char *>(
        MemoryContextAllocExtended(ErrorContext, text.size() + 1, MCXT_ALLOC_NO_OOM));
    if (copy)
        memcpy(copy, text.c_str(), text.size() + 1);
    return copy;
}

[[noreturn]] inline void report(const Pending &pending) {
    if (pending.server)
        ReThrowError(pending.server);
    ereport(ERROR, (errcode(pending.sqlstate),
                    errmsg("%s", pending.message ? pending.message : "out of memory"),
                    pending.detail ? errdetail("%s", pending.detail) : 0,
                    pending.hint ? errhint("%s", pending.hint) : 0));
    pg_unreachable();
}

// ereport jumps; out of a catch block it would keep the exception alive for the whole session.
// So every handler only fills `pending`, and the report comes after the handlers have ended.
template <typename F> Datum entry(F &&body) {
    Pending pending;
    try {
        return body();
    } catch (const Error &error) {
        pending.server = error.data();
    } catch (const Failure &failure) {
        pending = {nullptr, failure.sqlstate, keep(failure.message), keep(failure.detail),
                   keep(failure.hint)};
    } catch (const std::bad_alloc &) {
        pending.sqlstate = ERRCODE_OUT_OF_MEMORY;
        pending.message = keep("out of memory");
    } catch (const std::exception &error) {
        pending.sqlstate = ERRCODE_INTERNAL_ERROR;
        pending.message = keep(error.what());
    } catch (...) {
        pending.sqlstate = ERRCODE_INTERNAL_ERROR;
        pending.message = keep("unknown C++ exception");
    }
    report(pending);
}

} // namespace pg
