// The messages of once-relay inbox, which come as an array for each column of once.message: put
// together for a handler, or written to once.inbox.
//
// The rows are written as COPY does it: many at once by the table access method, then the entries
// of every index the table has. Checks are made; a table with triggers is left to SQL.
#include "storage/keyed_table.hpp"
#include "pg/boundary.hpp"
#include "pg/compat.hpp"
#include "storage/row_slots.hpp"

extern "C" {
#include <access/htup_details.h>
#include <access/table.h>
#include <access/tableam.h>
#include <commands/sequence.h>
#include <executor/executor.h>
#include <utils/array.h>
#include <utils/lsyscache.h>
#include <utils/timestamp.h>
#include <utils/typcache.h>
}

namespace once {
namespace {

// Fields of once.message, from 0, as sql/schema/inbox/inbox.sql has them.
enum Field {
    kTopic,
    kPartition,
    kOffset,
    kKey,
    kPayload,
    kHeaders,
    kId,
    kSource,
    kPosition,
    kSent,
    kFields
};
constexpr Oid kFieldTypes[kFields] = {TEXTOID,  INT4OID, INT8OID, TEXTOID, BYTEAOID,
                                      JSONBOID, TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID};

// Columns of once.inbox, from 0, and which field each one takes; -1: none.
enum Column {
    kConsumer,
    kSeq = 2,
    kReceived = 10,
    kState,
    kAttempts,
    kNextAt,
    kError,
    kColumns = 17
};
constexpr int kFieldOf[kColumns] = {-1,      kId,  -1,       kSource,   kTopic, kPartition,
                                    kOffset, kKey, kPayload, kHeaders,  -1,     -1,
                                    -1,      -1,   -1,       kPosition, kSent};

constexpr int kRowsAtOnce = 200; // so many stand in memory twice

// Server world, trivially destructible, like everything below.
struct Messages {
    int count;
    Datum *values[kFields];
    bool *nulls[kFields];
};

Messages messages_of(FunctionCallInfo fcinfo, int first) {
    Messages messages{};
    for (int i = 0; i < kFields; ++i) {
        int16 length;
        bool by_value;
        char alignment;
        int count;
        get_typlenbyvalalign(kFieldTypes[i], &length, &by_value, &alignment);
        deconstruct_array(PG_GETARG_ARRAYTYPE_P(first + i), kFieldTypes[i], length, by_value,
                          alignment, &messages.values[i], &messages.nulls[i], &count);
        if (i > 0 && count != messages.count)
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                            errmsg("the arrays must have as many elements as each other")));
        messages.count = count;
    }
    return messages;
}

Datum array_of_rows(FunctionCallInfo fcinfo) {
    const Messages messages = messages_of(fcinfo, 0);
    const Oid type = get_element_type(get_func_rettype(fcinfo->flinfo->fn_oid));
    const TupleDesc shape = lookup_rowtype_tupdesc(type, -1);
    if (shape->natts != kFields)
        elog(ERROR, "type once.message has another shape than this version of pg_once knows");
    auto *rows = static_cast<Datum *>(palloc(sizeof(Datum) * static_cast<Size>(messages.count)));
    for (int i = 0; i < messages.count; ++i) {
        Datum values[kFields];
        bool nulls[kFields];
        for (int field = 0; field < kFields; ++field) {
            values[field] = messages.values[field][i];
            nulls[field] = messages.nulls[field][i];
        }
        rows[i] = HeapTupleGetDatum(heap_form_tuple(shape, values, nulls));
    }
    ReleaseTupleDesc(shape);
    return PointerGetDatum(construct_array(rows, messages.count, type, -1, false, TYPALIGN_DOUBLE));
}

// The row as INSERT would make it, with the defaults that sql/schema/inbox/inbox.sql declares.
void fill(TupleTableSlot *slot, const Messages &messages, int i, Datum consumer, Oid sequence,
          Datum ready, TimestampTz now) {
    for (int column = 0; column < kColumns; ++column) {
        const int field = kFieldOf[column];
        slot->tts_values[column] = field < 0 ? 0 : messages.values[field][i];
        slot->tts_isnull[column] = field >= 0 && messages.nulls[field][i];
    }
    slot->tts_values[kConsumer] = consumer;
    slot->tts_values[kSeq] = Int64GetDatum(nextval_internal(sequence, false));
    slot->tts_values[kReceived] = slot->tts_values[kNextAt] = TimestampTzGetDatum(now);
    slot->tts_values[kState] = ready;
    slot->tts_isnull[kError] = true;
    ExecStoreVirtualTuple(slot);
}

void append(Relation inbox, const Messages &messages, Datum consumer) {
    const Oid sequence = get_relname_relid("inbox_seq_seq", RelationGetNamespace(inbox));
    const Datum ready = CStringGetTextDatum("ready");
    const TimestampTz now = GetCurrentTimestamp();
    EState *executor = CreateExecutorState();
    ResultRelInfo *target = makeNode(ResultRelInfo);
    InitResultRelInfo(target, inbox, 0, nullptr, 0);
    ExecOpenIndices(target, false);
    RowSlots rows = row_slots(inbox, kRowsAtOnce);
    for (int from = 0; from < messages.count; from += kRowsAtOnce) {
        const int count = Min(kRowsAtOnce, messages.count - from);
        for (int i = 0; i < count; ++i) {
            TupleTableSlot *slot = slot_of(rows, i);
            fill(slot, messages, from + i, consumer, sequence, ready, now);
            ExecConstraints(target, slot, executor);
        }
        const MemoryContext caller =
            MemoryContextSwitchTo(GetPerTupleMemoryContext(executor)); // copies of the rows
        table_multi_insert(inbox, rows.slots, count, GetCurrentCommandId(true), 0, nullptr);
        for (int i = 0; i < count; ++i)
            pg::insert_index_entries(target, rows.slots[i], executor);
        MemoryContextSwitchTo(caller);
        ResetPerTupleExprContext(executor);
    }
    drop(rows);
    ExecCloseIndices(target);
    FreeExecutorState(executor);
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_inbox_messages);
PGDLLEXPORT Datum once_inbox_messages(PG_FUNCTION_ARGS) {
    return pg::entry(
        [&]() -> Datum { return pg::call([&] { return once::array_of_rows(fcinfo); }); });
}

// False: nothing was done, because the table has something that only INSERT serves.
PG_FUNCTION_INFO_V1(once_inbox_append);
PGDLLEXPORT Datum once_inbox_append(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        return pg::call([&] {
            const once::Messages messages = once::messages_of(fcinfo, 1);
            const Relation inbox = table_open(once::known_table("inbox"), RowExclusiveLock);
            const bool plain = !inbox->trigdesc && !inbox->rd_rules &&
                               RelationGetNumberOfAttributes(inbox) == once::kColumns;
            if (plain)
                once::append(inbox, messages, PG_GETARG_DATUM(0));
            table_close(inbox, NoLock);
            return BoolGetDatum(plain);
        });
    });
}

} // extern "C"
