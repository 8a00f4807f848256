// A claim is one row in one generation of one of the rings claim_<class>. This file finds, reads
// and writes it.
//
// Who may write a key is settled by a lock on the key that is held for the length of one call,
// never longer; who comes later sees the uncommitted row and waits for its transaction. So a key is
// unique over all generations of all rings, if whoever has the lock knows every table that somebody
// who had it before may have written: he reads the scope's row and the rings' under a snapshot that
// was taken after he got the lock [!], and looks into every ring that the scope ever used. What is
// written moves into the open generation; the snapshot is held until then.
//
// Server world: everything may ERROR, so callers stand inside pg::call.
#pragma once

#include "requests/scope.hpp"

#include "pg/prelude.hpp"

extern "C" {
#include <access/htup_details.h>
#include <datatype/timestamp.h>
#include <storage/lock.h>
#include <utils/snapshot.h>
#include <utils/uuid.h>
}

#include <string_view>

namespace once {

enum ClaimColumn {
    kOwner,
    kClaimedAt,
    kLeaseUntil,
    kSettledAt,
    kOwnKeep,
    kToken,
    kAttempt,
    kStatus,
    kState,
    kKey,
    kScope,
    kFingerprint,
    kFields,
    kResponse,
    kBody,
    kError,
    kCheckpoint,
    kClaimColumns
};

enum class ClaimState : char { claimed = 'c', completed = 'd', failed = 'f', released = 'r' };

// One version of the row: a copy, with nothing left outside of it. Trivially destructible.
struct ClaimRecord {
    HeapTuple tuple = nullptr; // null: there is none
    Oid table = InvalidOid;    // where it lies
    Datum value[kClaimColumns];
    bool null[kClaimColumns];

    [[nodiscard]] bool found() const { return tuple != nullptr; }
    [[nodiscard]] ClaimState state() const {
        return static_cast<ClaimState>(DatumGetChar(value[kState]));
    }
    [[nodiscard]] TimestampTz time(ClaimColumn column) const {
        return DatumGetTimestampTz(value[column]);
    }
    [[nodiscard]] int attempt() const { return DatumGetInt32(value[kAttempt]); }
    // Copies a row of a claim table.
    void take(Relation heap, HeapTuple row);
    [[nodiscard]] bool has_token(const pg_uuid_t &token) const;
    // Written by the running transaction and not committed yet.
    [[nodiscard]] bool is_ours() const;

    void set(ClaimColumn column, Datum datum) {
        value[column] = datum;
        null[column] = false;
    }
    void clear(ClaimColumn column) {
        value[column] = 0;
        null[column] = true;
    }
    void set_or_clear(ClaimColumn column, bool given, Datum datum) {
        given ? set(column, datum) : clear(column);
    }
};

// When the row stops to be known. The only rule of expiry: read by every lookup and by the sweep.
[[nodiscard]] TimestampTz expires_at(const Scope &scope, const ClaimRecord &record);

struct ClaimKey {
    std::string_view scope;
    std::string_view key;
    int64 owner = 0; // of the scope: it finds the rows, and the scope is compared whole
};
// Checked names, in the database's encoding. May throw.
[[nodiscard]] int64 scope_owner(std::string_view scope);

// The rings of a scope's classes, as a snapshot shows them.
struct ClaimRings {
    Class home;             // what is written goes there
    bool uncommitted;       // of the others nobody else may know
    int64 open[kClasses]{}; // serial of the open generation; 0: the scope never had this class
};
ClaimRings claim_rings(const Scope &scope, Snapshot snapshot);

// The row of a key as it is now, other transactions' uncommitted versions included; `busy` is the
// xid of the one that is at work on it (the row is then not for use: wait and look again).
ClaimRecord find_claim(const ClaimRings &rings, const ClaimKey &key, TransactionId *busy);
// The same in the table that takes new claims alone: nearly every retry finds its key there.
ClaimRecord find_recent_claim(const ClaimRings &rings, const ClaimKey &key, TransactionId *busy);
// The row that a snapshot shows, for reading only; works on a standby.
ClaimRecord find_claim_shown(const ClaimRings &rings, const ClaimKey &key, Snapshot snapshot);
// Waits until that transaction has ended. Holds no lock of ours meanwhile.
void wait_for_claim(TransactionId busy);

// Makes `record` the row of its key: in place, or moved into the open table of the scope's class.
// What outlives that one (a lease given under settings before) goes where it is kept long enough.
// The key must be locked, and `rings` from a snapshot that is still held.
void write_claim(const Scope &scope, const ClaimRings &rings, ClaimRecord &record, TimestampTz now);

// The lock on a key for the length of one call.
class KeyLock {
  public:
    explicit KeyLock(const ClaimKey &key);
    [[nodiscard]] bool try_acquire();
    void acquire();
    void release();

  private:
    LOCKTAG tag_;
};

// Waiters register by a lock that nobody else ever waits for; who settles a claim looks whether
// there are any.
void register_waiter(const ClaimKey &key);
void unregister_waiter(const ClaimKey &key);
void wake_waiters(const ClaimKey &key);

} // namespace once
