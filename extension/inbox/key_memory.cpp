#include "inbox/key_memory.hpp"

#include "arguments.hpp"
#include "errors.hpp"
#include "pg/boundary.hpp"
#include "pg/columns.hpp"
#include "storage/known_table.hpp"
#include "pg/compat.hpp"
#include "pg/memory.hpp"

extern "C" {
#include <access/genam.h>
#include <access/htup_details.h>
#include <access/table.h>
#include <catalog/pg_collation.h>
#include <storage/bufmgr.h>
#include <utils/fmgroids.h>
#include <utils/rel.h>
#include <utils/snapmgr.h>
#include <utils/timestamp.h>
}

#include <functional>
#include <map>
#include <string>

namespace once {
namespace {

// Columns that are read, from 0.
namespace consumer_column {
enum { number, version, name, id_type, reject_older, horizon, keep, keep_count };
constexpr pg::Column all[] = {{"no", INT4OID},           {"version", UUIDOID},
                              {"name", TEXTOID},         {"id_type", TEXTOID},
                              {"reject_older", BOOLOID}, {"horizon", TIMESTAMPTZOID},
                              {"keep", INTERVALOID},     {"keep_count", INT8OID}};
} // namespace consumer_column
namespace generation_column {
enum { consumer, slot, state, closed_at, keys };
constexpr pg::Column all[] = {{"consumer", INT4OID},
                              {"slot", INT2OID},
                              {"state", TEXTOID},
                              {"closed_at", TIMESTAMPTZOID},
                              {"keys", INT8OID}};
} // namespace generation_column

struct Row {
    HeapTuple tuple;
    TupleDesc columns;
    pg::ColumnMap map;

    bool null(int column) const { return heap_attisnull(tuple, map.number[column], columns); }
    Datum operator[](int column) const {
        bool isnull;
        return pg::read_column(tuple, columns, map, column, &isnull);
    }
};

// Rows by primary key under a snapshot. The table stays locked for reading until the transaction
// ends: the next call finds the lock. Server world.
template <typename F>
void each_row(const char *table, std::span<const pg::Column> columns, int key_column,
              RegProcedure equal, Datum value, Snapshot snapshot, F &&take) {
    const Relation heap = table_open(known_table(table), AccessShareLock);
    const pg::ColumnMap map = pg::columns_of(heap, columns, pg::Use::read);
    ScanKeyData key;
    ScanKeyInit(&key, map.number[key_column], BTEqualStrategyNumber, equal, value);
    key.sk_collation = C_COLLATION_OID;
    const SysScanDesc scan =
        systable_beginscan(heap, pg::primary_key_of(heap), true, snapshot, 1, &key);
    while (HeapTuple tuple = systable_getnext(scan))
        take(Row{tuple, RelationGetDescr(heap), map});
    systable_endscan(scan);
    table_close(heap, NoLock);
}

struct Settings {
    bool declared = false; // has an id type
    ItemPointerData at{};
    Memory memory;
    int64 keep = 0;       // microseconds; 0: no limit by time
    int64 keep_count = 0; // 0: no limit by count
};

int64 microseconds(const Interval &span) {
    return ((span.month * int64{DAYS_PER_MONTH} + span.day) * SECS_PER_DAY) * USECS_PER_SEC +
           span.time;
}

IdType type_of(Datum name) {
    const text *value = DatumGetTextPP(name);
    return *id_type_of({VARDATA_ANY(value), static_cast<size_t>(VARSIZE_ANY_EXHDR(value))});
}

// Where a consumer's row was last seen. A row version that a snapshot shows is the only one of its
// row, so while it is still visible there is nothing to look up in the index.
struct Seen {
    ItemPointerData at;
    pg_uuid_t version;
    int consumer;
};
std::map<std::string, Seen, std::less<>> seen;

// Server world.
bool still_visible(const Seen &last, Snapshot snapshot) {
    const Relation heap = table_open(known_table("consumer"), AccessShareLock);
    HeapTupleData tuple{};
    tuple.t_self = last.at;
    Buffer buffer;
    // The table may have become shorter since (VACUUM), or be another one (the extension made
    // again): fetching from behind its end would look like a damaged file.
    bool visible = ItemPointerGetBlockNumber(&last.at) < RelationGetNumberOfBlocks(heap) &&
                   pg::fetch_row(heap, snapshot, &tuple, &buffer);
    if (visible) {
        const Row row{&tuple, RelationGetDescr(heap),
                      pg::columns_of(heap, consumer_column::all, pg::Use::read)};
        // The place may have been taken by another row since.
        visible = std::memcmp(DatumGetUUIDP(row[consumer_column::version])->data, last.version.data,
                              UUID_LEN) == 0;
        ReleaseBuffer(buffer);
    }
    table_close(heap, NoLock);
    return visible;
}

// A version is a random uuid that every change of the consumer's row or generations replaces, so
// what was once read for it never changes. Only number and version have to be read under the
// snapshot each time.
std::map<int, Memory> memories;

bool cached(int consumer, const pg_uuid_t &version) {
    const auto known = memories.find(consumer);
    return known != memories.end() &&
           std::memcmp(known->second.version.data, version.data, UUID_LEN) == 0;
}

Settings read_consumer(Datum name, Snapshot snapshot) {
    using namespace consumer_column;
    Settings result;
    each_row("consumer", all, consumer_column::name, F_TEXTEQ, name, snapshot, [&](const Row &row) {
        Memory &memory = result.memory;
        result.at = row.tuple->t_self;
        memory.consumer = DatumGetInt32(row[number]);
        memory.version = *DatumGetUUIDP(row[version]);
        result.declared = cached(memory.consumer, memory.version);
        if (result.declared || row.null(id_type))
            return;
        result.declared = true;
        memory.type = type_of(row[id_type]);
        memory.reject_older = DatumGetBool(row[reject_older]);
        memory.horizon = row.null(horizon) ? DT_NOBEGIN : DatumGetTimestampTz(row[horizon]);
        result.keep = row.null(keep) ? 0 : microseconds(*DatumGetIntervalP(row[keep]));
        result.keep_count = row.null(keep_count) ? 0 : DatumGetInt64(row[keep_count]);
    });
    return result;
}

Oid table_of(int consumer, int slot) {
    char name[NAMEDATALEN];
    snprintf(name, sizeof name, "key_%d_%d", consumer, slot);
    return table_named(name);
}

struct Found {
    ReadOnlyGeneration generation;
    int64 keys;
};

void add_newest_first(Found (&found)[kSlots], int &count, const Found &one) {
    int at = count++;
    for (; at > 0 && found[at - 1].generation.closed_at < one.generation.closed_at; at--)
        found[at] = found[at - 1];
    found[at] = one;
}

// Completes `settings.memory` by the generations' rows of the same snapshot. Server world.
void read_generations(Settings &settings, Snapshot snapshot) {
    using namespace generation_column;
    Memory &memory = settings.memory;
    Found found[kSlots];
    int count = 0;
    each_row("generation", all, consumer, F_INT4EQ, Int32GetDatum(memory.consumer), snapshot,
             [&](const Row &row) {
                 const text *text_state = DatumGetTextPP(row[state]);
                 const std::string_view is{VARDATA_ANY(text_state),
                                           static_cast<size_t>(VARSIZE_ANY_EXHDR(text_state))};
                 if (is == "free" || is == "retired")
                     return;
                 const Oid table = table_of(memory.consumer, DatumGetInt16(row[slot]));
                 if (is == "open")
                     memory.open = table;
                 else if (is == "closing")
                     memory.closing = table;
                 else if (count < kSlots)
                     add_newest_first(
                         found, count,
                         {{table, DatumGetTimestampTz(row[closed_at])}, DatumGetInt64(row[keys])});
             });
    if (!OidIsValid(memory.open))
        ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                        errmsg("consumer number %d has no open generation", memory.consumer)));

    int64 newer = 0;
    for (int i = 0; i < count; ++i) {
        ReadOnlyGeneration &generation = found[i].generation;
        if (settings.keep)
            generation.expires_at = generation.closed_at + settings.keep;
        if (settings.keep_count && newer >= settings.keep_count)
            generation.expires_at = DT_NOBEGIN;
        newer += found[i].keys;
        memory.read_only[memory.read_only_count++] = generation;
    }
}

const Memory *remembered(const Settings &settings, Snapshot snapshot) {
    const int consumer = settings.memory.consumer;
    if (!cached(consumer, settings.memory.version)) {
        Settings complete = settings;
        pg::call([&] { read_generations(complete, snapshot); });
        memories.insert_or_assign(consumer, complete.memory);
    }
    return &memories.find(consumer)->second;
}

// In SQL, with the rights of the extension's owner: it creates tables.
void declare(Datum consumer, IdType type) {
    pg::call([&] {
        Oid owner;
        int context;
        GetUserIdAndSecContext(&owner, &context);
        const Relation consumers = table_open(known_table("consumer"), AccessShareLock);
        SetUserIdAndSecContext(consumers->rd_rel->relowner, context | SECURITY_LOCAL_USERID_CHANGE);
        table_close(consumers, AccessShareLock);
        Oid types[] = {TEXTOID, TEXTOID};
        Datum values[] = {consumer, CStringGetTextDatum(name_of(type))};
        SPI_connect();
        if (SPI_execute_with_args("SELECT once.consumer_declare($1, $2)", 2, types, values, nullptr,
                                  false, 0) != SPI_OK_SELECT)
            elog(ERROR, "could not declare a consumer");
        SPI_finish();
        SetUserIdAndSecContext(owner,
                               context); // an ERROR above restores it with the transaction's end
    });
}

} // namespace

View::View(std::string_view consumer, IdType argument) {
    const auto last = seen.find(consumer);
    if (last != seen.end() &&
        pg::call([&] { return still_visible(last->second, GetActiveSnapshot()); })) {
        memory_ = &memories.find(last->second.consumer)->second;
        if (std::memcmp(memory_->version.data, last->second.version.data, UUID_LEN) == 0)
            return;
    }
    check_name(consumer, "consumer", kInvalidConsumer);
    const Datum name = pg::varlena_of(consumer);
    auto read = [&] { return pg::call([&] { return read_consumer(name, GetActiveSnapshot()); }); };
    auto refresh = [&] {
        pg::call([&] {
            if (pushed_)
                PopActiveSnapshot();
            PushActiveSnapshot(GetTransactionSnapshot());
        });
        pushed_ = true;
    };
    Settings settings = read();
    if (!settings.declared) { // our own statement may have declared it just now
        refresh();
        settings = read();
    }
    if (!settings.declared) {
        declare(name, argument);
        refresh();
        settings = read();
    }
    if (!settings.declared) // declared by somebody else after our transaction's only snapshot
        throw pg::Failure{ERRCODE_T_R_SERIALIZATION_FAILURE,
                          "could not serialize access due to concurrent declaration of a consumer"};
    memory_ = remembered(settings, snapshot());
    seen.insert_or_assign(std::string(consumer),
                          Seen{settings.at, settings.memory.version, settings.memory.consumer});
}

View::~View() {
    if (pushed_)
        PopActiveSnapshot();
}

Snapshot View::snapshot() const {
    return GetActiveSnapshot();
}

} // namespace once
