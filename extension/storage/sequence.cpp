#include "storage/sequence.hpp"

#include "pg/boundary.hpp"
#include "pg/compat.hpp"
#include "pg/owner.hpp"

extern "C" {
#include <access/htup_details.h>
#include <access/relation.h>
#include <access/xact.h>
#include <access/xlog.h>
#include <commands/sequence.h>
#include <storage/bufmgr.h>
#include <tcop/utility.h>
}

namespace once {
namespace {

constexpr int64 kLogAhead = 32; // numbers that one WAL record stands for, as the server has it
// One less than there is: behind a block of numbers stands the end of its range.
constexpr int64 kLastNumber = PG_INT64_MAX - 1;

// A sequence's only row, in its buffer, which is locked.
struct Row {
    Relation sequence;
    Buffer buffer;
    HeapTupleHeader header;
    uint32 size;

    [[nodiscard]] Form_pg_sequence_data data() const {
        return reinterpret_cast<Form_pg_sequence_data>(reinterpret_cast<char *>(header) +
                                                       header->t_hoff);
    }
    [[nodiscard]] int64 drawn() const {
        return data()->is_called ? data()->last_value : data()->last_value - 1;
    }
};

Row lock_row(Relation sequence) {
    PreventCommandIfReadOnly("nextval()");
    PreventCommandIfParallelMode("nextval()");
    if (sequence->rd_rel->relkind != RELKIND_SEQUENCE)
        ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                        errmsg("\"%s\" is not a sequence", RelationGetRelationName(sequence))));
    Buffer buffer = ReadBuffer(sequence, 0);
    LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
    Page page = BufferGetPage(buffer);
    ItemId item = PageGetItemId(page, FirstOffsetNumber);
    return {sequence, buffer, reinterpret_cast<HeapTupleHeader>(PageGetItem(page, item)),
            ItemIdGetLength(item)};
}

// All numbers up to `last` are drawn. The buffer is marked before the record is written and shows
// what the record says only until the lock is given back: nobody sees the numbers ahead as drawn.
void store(const Row &row, int64 last) {
    Form_pg_sequence_data data = row.data();
    const int64 count = last - row.drawn();
    const bool logged = data->is_called && data->log_cnt >= count &&
                        PageGetLSN(BufferGetPage(row.buffer)) > GetRedoRecPtr();
    int64 ahead = data->log_cnt - count;
    if (!logged) {
        ahead = Min(kLogAhead, kLastNumber - last);
        if (RelationNeedsWAL(row.sequence))
            (void)GetTopTransactionId(); // a commit without an id would not wait for the record
    }
    START_CRIT_SECTION();
    MarkBufferDirty(row.buffer);
    data->is_called = true;
    if (!logged && RelationNeedsWAL(row.sequence)) {
        data->last_value = last + ahead;
        data->log_cnt = 0;
        pg::log_sequence(row.sequence, row.buffer, row.header, row.size);
    }
    data->last_value = last;
    data->log_cnt = ahead;
    END_CRIT_SECTION();
}

} // namespace

int64 draw_numbers(Relation sequence, int64 count) {
    const Row row = lock_row(sequence);
    const int64 drawn = row.drawn();
    if (drawn > kLastNumber - count) {
        UnlockReleaseBuffer(row.buffer);
        ereport(ERROR, (errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
                        errmsg("sequence \"%s\" has no %lld numbers left",
                               RelationGetRelationName(sequence), static_cast<long long>(count))));
    }
    store(row, drawn + count);
    UnlockReleaseBuffer(row.buffer);
    return drawn + 1;
}

Drawn draw_up_to(Relation sequence, int64 last) {
    const Row row = lock_row(sequence);
    const int64 drawn = row.drawn();
    if (drawn < last)
        store(row, last);
    UnlockReleaseBuffer(row.buffer);
    return {drawn, Max(drawn, last)};
}

} // namespace once

extern "C" {

// (sequence regclass): the default of columns that number rows.
PG_FUNCTION_INFO_V1(once_next_number);
PGDLLEXPORT Datum once_next_number(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        return pg::call([&] {
            Relation sequence =
                relation_open(pg::require_relation(PG_GETARG_OID(0)), RowExclusiveLock);
            const int64 number = once::draw_numbers(sequence);
            relation_close(sequence, NoLock);
            return Int64GetDatum(number);
        });
    });
}

} // extern "C"
