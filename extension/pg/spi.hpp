// SPI for what is not on a hot path, and saved plans for what is.
#pragma once

#include "pg/boundary.hpp"
#include "pg/newest_snapshot.hpp"

extern "C" {
#include <utils/snapmgr.h>
}

#include <initializer_list>
#include <span>

namespace pg {

// Connects SPI for a scope. On an ERROR the transaction's end cleans SPI up itself, so the
// destructor finishes only what is still connected.
class Spi {
  public:
    Spi() {
        call([] {
            if (SPI_connect() != SPI_OK_CONNECT)
                elog(ERROR, "SPI_connect failed");
        });
    }
    ~Spi() { SPI_finish(); }
    Spi(const Spi &) = delete;
    Spi &operator=(const Spi &) = delete;
};

// What is committed at this moment (and what the transaction itself did), whatever its isolation
// level.
class NewestSnapshot {
  public:
    NewestSnapshot() : snapshot_(call([] { return RegisterSnapshot(newest_snapshot()); })) {}
    ~NewestSnapshot() { UnregisterSnapshot(snapshot_); }
    NewestSnapshot(const NewestSnapshot &) = delete;
    NewestSnapshot &operator=(const NewestSnapshot &) = delete;
    [[nodiscard]] Snapshot get() const noexcept { return snapshot_; }

  private:
    Snapshot snapshot_;
};

// A snapshot of the transaction's isolation level, taken now and active for a scope: statements
// that only read, and lookups of ours, see the same.
class FreshSnapshot {
  public:
    FreshSnapshot() {
        call([] { PushActiveSnapshot(GetTransactionSnapshot()); });
    }
    ~FreshSnapshot() { PopActiveSnapshot(); }
    FreshSnapshot(const FreshSnapshot &) = delete;
    FreshSnapshot &operator=(const FreshSnapshot &) = delete;
    [[nodiscard]] Snapshot get() const noexcept { return GetActiveSnapshot(); }
};

// A plan that is prepared at first use and kept for the session. Its statement is a literal with
// qualified names; argument types are given by oid. The server replans by itself when objects
// change.
class Plan {
  public:
    Plan(const char *statement, std::initializer_list<Oid> types) noexcept
        : statement_(statement), count_(static_cast<int>(types.size())) {
        int i = 0;
        for (Oid type : types)
            types_[i++] = type;
    }

    // Runs the plan within an open Spi scope; `nulls` is as for SPI_execute_plan (nullptr: none is
    // null). Returns the SPI result code; rows are in SPI_tuptable. limit 0: all.
    int execute(std::span<const Datum> values, const char *nulls = nullptr, bool read_only = false,
                long limit = 0) {
        return call([&] {
            prepare();
            return checked(SPI_execute_plan(plan_, const_cast<Datum *>(values.data()), nulls,
                                            read_only, limit));
        });
    }

    // The same for a statement that only reads, with a snapshot of the caller's.
    int execute(std::span<const Datum> values, const NewestSnapshot &snapshot) {
        return call([&] {
            prepare();
            return checked(SPI_execute_snapshot(plan_, const_cast<Datum *>(values.data()), nullptr,
                                                snapshot.get(), InvalidSnapshot, true, false, 0));
        });
    }

  private:
    void prepare() { // inside call()
        if (plan_)
            return;
        SPIPlanPtr plan = SPI_prepare(statement_, count_, types_);
        if (!plan)
            elog(ERROR, "could not prepare: %s", SPI_result_code_string(SPI_result));
        SPI_keepplan(plan);
        plan_ = plan;
    }
    static int checked(int code) { // inside call()
        if (code < 0)
            elog(ERROR, "could not execute: %s", SPI_result_code_string(code));
        return code;
    }

    static constexpr int kMaxArguments = 16;
    const char *statement_;
    int count_;
    Oid types_[kMaxArguments]{};
    SPIPlanPtr plan_ = nullptr;
};

} // namespace pg
