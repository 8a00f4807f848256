// A row that a session has read and relies on again: only if that very version of it is what the
// snapshot shows.
//
// A table, a place and an xmin name one version of a row for as long as anybody can see it. A
// message or a trigger could come late, be lost in a restore or be switched off by
// session_replication_role; a version that is visible cannot lie.
#pragma once

#include "pg/compat.hpp"

extern "C" {
#include <access/htup_details.h>
#include <storage/bufmgr.h>
#include <storage/itemptr.h>
#include <utils/rel.h>
}

namespace once {

struct RowMemo {
    Oid table = InvalidOid;
    ItemPointerData at{};
    TransactionId xmin = InvalidTransactionId;

    // Of a row that was just read from `heap`. What our own transaction wrote is not remembered: it
    // may write the row again, under the same xmin.
    [[nodiscard]] static RowMemo of(Relation heap, HeapTuple row) {
        const TransactionId xmin = HeapTupleHeaderGetRawXmin(row->t_data);
        if (TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(row->t_data)))
            return {};
        return {RelationGetRelid(heap), row->t_self, xmin};
    }
};

// Whether the remembered version is what the snapshot shows. `same(tuple)` makes sure that the row
// is the one that is asked for: rewriting a table moves rows to each other's places. Server world.
template <typename Same>
[[nodiscard]] bool still_shown(const RowMemo &memo, Relation heap, Snapshot snapshot, Same &&same) {
    if (memo.table != RelationGetRelid(heap))
        return false;
    HeapTupleData row{};
    row.t_self = memo.at;
    Buffer buffer;
    // The table may have become shorter since (VACUUM): to fetch from behind its end would look
    // like a damaged file.
    if (ItemPointerGetBlockNumber(&memo.at) >= RelationGetNumberOfBlocks(heap) ||
        !pg::fetch_row(heap, snapshot, &row, &buffer))
        return false;
    const bool shown = HeapTupleHeaderGetRawXmin(row.t_data) == memo.xmin && same(&row);
    ReleaseBuffer(buffer);
    return shown;
}

} // namespace once
