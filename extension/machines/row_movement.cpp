#include "machines/row_movement.hpp"

#include "pg/boundary.hpp"
#include "pg/compat.hpp"

extern "C" {
#include <access/heapam.h>
#include <access/htup_details.h>
#include <access/table.h>
#include <access/xact.h>
#include <catalog/partition.h>
#include <storage/bufmgr.h>
#include <utils/snapmgr.h>
}

#include <vector>

namespace once {
namespace {

struct Note {
    FullTransactionId transaction; // top level
    CommandId command;             // of the statement that runs the UPDATE
    Oid root, relation;
    ItemPointerData row;
    std::string what;
    std::optional<std::string> from;
};
// Statements nest (a trigger runs another one), rows of one statement do not: few are open.
std::vector<Note> notes;

Oid root_of(Oid partition) {
    List *ancestors = get_partition_ancestors(partition);
    return ancestors ? llast_oid(ancestors) : partition;
}

// The version is the one that was noted, and this transaction has moved it to another partition.
bool was_moved(const Note &note) {
    Relation relation = try_table_open(note.relation, NoLock); // our UPDATE has it locked
    if (!relation)
        return false;
    bool moved = false;
    if (relation->rd_tableam == GetHeapamTableAmRoutine() &&
        ItemPointerGetBlockNumber(&note.row) < RelationGetNumberOfBlocks(relation)) {
        HeapTupleData row{};
        row.t_self = note.row;
        Buffer buffer = InvalidBuffer;
        if (pg::fetch_row(relation, SnapshotAny, &row, &buffer)) {
            moved = HeapTupleHeaderIndicatesMovedPartitions(row.t_data) &&
                    TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(row.t_data));
            ReleaseBuffer(buffer);
        }
    }
    table_close(relation, NoLock);
    return moved;
}

} // namespace

void note_update(Relation relation, HeapTuple row, std::string what,
                 std::optional<std::string> from) {
    if (!relation->rd_rel->relispartition)
        return;
    Note note{};
    pg::call([&] {
        note.transaction = GetTopFullTransactionId();
        note.command = GetActiveSnapshot()->curcid;
        note.root = root_of(RelationGetRelid(relation));
    });
    // What the same statement noted of another row is done with, and so are statements that a
    // trigger of it ran.
    std::erase_if(notes, [&](const Note &old) {
        return !FullTransactionIdEquals(old.transaction, note.transaction) ||
               old.command > note.command || (old.command == note.command && old.what == what);
    });
    note.relation = RelationGetRelid(relation);
    note.row = row->t_self;
    note.what = std::move(what);
    note.from = std::move(from);
    notes.push_back(std::move(note));
}

Movement movement_into(Relation relation, std::string_view what) {
    if (notes.empty() || !relation->rd_rel->relispartition)
        return {};
    const Oid root = pg::call([&] { return root_of(RelationGetRelid(relation)); });
    const FullTransactionId transaction = GetTopFullTransactionIdIfAny();
    for (auto note = notes.rbegin(); note != notes.rend(); ++note) {
        if (note->root != root || note->what != what ||
            !FullTransactionIdEquals(note->transaction, transaction))
            continue;
        if (pg::call([&] { return was_moved(*note); })) {
            Movement movement{true, std::move(note->from)};
            notes.erase(std::next(note).base());
            return movement;
        }
    }
    return {};
}

} // namespace once
