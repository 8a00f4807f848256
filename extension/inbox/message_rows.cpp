// The messages of once-relay inbox, which come as an array for each column of once.message: put
// together for a handler, or written to once.inbox.
//
// The rows are written as COPY does it: many at once by the table access method, then the entries
// of every index the table has. Checks are made; a table with triggers is left to SQL.
#include "pg/array.hpp"
#include "pg/columns.hpp"
#include "pg/compat.hpp"
#include "storage/known_table.hpp"
#include "storage/row_slots.hpp"
#include "storage/sequence.hpp"

#include <iterator>

extern "C" {
#include <access/relation.h>
#include <access/table.h>
#include <access/tableam.h>
#include <executor/executor.h>
#include <utils/lsyscache.h>
#include <utils/timestamp.h>
#include <utils/typcache.h>
}

namespace once {
namespace {

// A message's fields: of once.message, and in this order the arrays of the arguments.
constexpr pg::Column kMessage[] = {
    {"topic", TEXTOID},    {"partition", INT4OID},     {"log_offset", INT8OID}, {"key", TEXTOID},
    {"payload", BYTEAOID}, {"headers", JSONBOID},      {"id", TEXTOID},         {"source", TEXTOID},
    {"pos", INT8OID},      {"sent_at", TIMESTAMPTZOID}};
constexpr int kFields = std::size(kMessage);

// Columns of once.inbox: the message's, then our own.
enum Column { kConsumer = kFields, kSeq, kReceived, kState, kAttempts, kNextAt, kColumns };
constexpr pg::Column kInbox[] = {{"topic", TEXTOID},
                                 {"partition", INT4OID},
                                 {"log_offset", INT8OID},
                                 {"key", TEXTOID},
                                 {"payload", BYTEAOID},
                                 {"headers", JSONBOID},
                                 {"id", TEXTOID},
                                 {"source", TEXTOID},
                                 {"pos", INT8OID},
                                 {"sent_at", TIMESTAMPTZOID},
                                 {"consumer", TEXTOID},
                                 {"seq", INT8OID},
                                 {"received_at", TIMESTAMPTZOID},
                                 {"state", TEXTOID},
                                 {"attempts", INT4OID},
                                 {"next_at", TIMESTAMPTZOID}};
static_assert(std::size(kInbox) == kColumns);

constexpr int kRowsAtOnce = 200; // so many stand in memory twice

// Trivially destructible.
struct Messages {
    int count;
    pg::Elements field[kFields];
};

Messages messages_of(FunctionCallInfo fcinfo, int first) {
    Messages messages{};
    for (int i = 0; i < kFields; ++i) {
        messages.field[i] = pg::elements_of(fcinfo, first + i, kMessage[i].name, kMessage[i].type);
        if (i > 0 && messages.field[i].count != messages.count)
            throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE,
                              "the arrays must have as many elements as each other"};
        messages.count = messages.field[i].count;
    }
    return messages;
}

// The fields of one message, in the order of kMessage.
void take_fields(const Messages &messages, int i, Datum *values, bool *nulls) {
    for (int field = 0; field < kFields; ++field) {
        values[field] = messages.field[field].value[i];
        nulls[field] = messages.field[field].null[i];
    }
}

// Server world, like everything below.
Datum array_of_rows(FunctionCallInfo fcinfo, const Messages &messages) {
    const Oid type = get_element_type(get_func_rettype(fcinfo->flinfo->fn_oid));
    const TupleDesc shape = lookup_rowtype_tupdesc(type, -1);
    const pg::ColumnMap map = pg::columns_of(shape, kMessage, "type \"once.message\"");
    auto *rows = static_cast<Datum *>(palloc(sizeof(Datum) * static_cast<Size>(messages.count)));
    for (int i = 0; i < messages.count; ++i) {
        Datum values[kFields];
        bool nulls[kFields];
        take_fields(messages, i, values, nulls);
        rows[i] = HeapTupleGetDatum(pg::form_row(shape, map, values, nulls));
    }
    ReleaseTupleDesc(shape);
    return PointerGetDatum(construct_array(rows, messages.count, type, -1, false, TYPALIGN_DOUBLE));
}

// The row as INSERT would make it, with the defaults that sql/schema/inbox/inbox.sql declares.
void fill(TupleTableSlot *slot, const pg::ColumnMap &map, const Messages &messages, int i,
          Datum consumer, int64 seq, Datum ready, TimestampTz now) {
    Datum values[kColumns];
    bool nulls[kColumns] = {};
    take_fields(messages, i, values, nulls);
    values[kConsumer] = consumer;
    values[kSeq] = Int64GetDatum(seq);
    values[kReceived] = values[kNextAt] = TimestampTzGetDatum(now);
    values[kState] = ready;
    values[kAttempts] = Int32GetDatum(0);
    pg::store_row(slot, map, values, nulls);
}

void append(Relation inbox, const Messages &messages, Datum consumer) {
    const pg::ColumnMap map = pg::columns_of(inbox, kInbox, pg::Use::write);
    Relation sequence = relation_open(
        get_relname_relid("inbox_seq_seq", RelationGetNamespace(inbox)), RowExclusiveLock);
    const Datum ready = CStringGetTextDatum("ready");
    const TimestampTz now = GetCurrentTimestamp();
    EState *executor = CreateExecutorState();
    ResultRelInfo *target = makeNode(ResultRelInfo);
    InitResultRelInfo(target, inbox, 0, nullptr, 0);
    ExecOpenIndices(target, false);
    RowSlots rows = row_slots(inbox, kRowsAtOnce);
    for (int from = 0; from < messages.count; from += kRowsAtOnce) {
        const int count = Min(kRowsAtOnce, messages.count - from);
        const int64 first = draw_numbers(sequence, count);
        for (int i = 0; i < count; ++i) {
            TupleTableSlot *slot = slot_of(rows, i);
            fill(slot, map, messages, from + i, consumer, first + i, ready, now);
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
    relation_close(sequence, NoLock);
    ExecCloseIndices(target);
    FreeExecutorState(executor);
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_inbox_messages);
PGDLLEXPORT Datum once_inbox_messages(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const once::Messages messages = once::messages_of(fcinfo, 0);
        return pg::call([&] { return once::array_of_rows(fcinfo, messages); });
    });
}

// False: nothing was done, because the table has something that only INSERT serves.
PG_FUNCTION_INFO_V1(once_inbox_append);
PGDLLEXPORT Datum once_inbox_append(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const once::Messages messages = once::messages_of(fcinfo, 1);
        return pg::call([&] {
            const Relation inbox = table_open(once::known_table("inbox"), RowExclusiveLock);
            const bool plain = !inbox->trigdesc && !inbox->rd_rules;
            if (plain)
                once::append(inbox, messages, PG_GETARG_DATUM(0));
            table_close(inbox, NoLock);
            return BoolGetDatum(plain);
        });
    });
}

} // extern "C"
