// once.accept_offset: the Kafka offset of a consumer group, in the transaction of the effects,
// fenced.
//
// The fence stands in a row of its own (a dump must not carry it), but whoever changes either of
// the two holds the row in once.consumer_offset, claimers too, and changes it: so a later fence is
// seen, or raises 40001.
#include "arguments.hpp"
#include "storage/change_row.hpp"
#include "errors.hpp"
#include "digest/message_id.hpp"
#include "pg/boundary.hpp"
#include "pg/memory.hpp"
#include "pg/row.hpp"
#include "verdict.hpp"

extern "C" {
#include <access/subtrans.h>
#include <storage/procarray.h>
}

#include <limits>
#include <optional>
#include <utility>

namespace once {
namespace {

enum class Verdict { fresh, duplicate, fenced };
constexpr const char *kVerdicts[] = {"new", "duplicate", "fenced"};

constexpr pg::Column kNext[] = {
    {"grp", TEXTOID}, {"topic", TEXTOID}, {"partition", INT4OID}, {"next", INT8OID}};
constexpr pg::Column kFence[] = {
    {"grp", TEXTOID}, {"topic", TEXTOID}, {"partition", INT4OID}, {"fence", INT8OID}};
constexpr int kKeys = 3, kValue = 3; // of both: the partition, and what stands for it

struct Partition {
    Datum group;
    Datum topic;
    Datum number;
};

struct Range {
    int64 first;
    int64 last;
    std::optional<int64> fence;
};

struct Answer {
    Verdict verdict = Verdict::fresh;
    std::optional<int64> next;
    bool gap =
        false; // a fenced range that begins above the stored next: somebody lost what lies between
};

Partition partition_of(FunctionCallInfo fcinfo) {
    for (const auto &[i, name] : {std::pair{0, "grp"}, {1, "topic"}, {2, "partition"}})
        require_argument(fcinfo, i, name);
    check_name(pg::bytes_of(PG_GETARG_DATUM(0)), "group", kInvalidConsumer);
    check_name(pg::bytes_of(PG_GETARG_DATUM(1)), "topic", kInvalidConsumer);
    if (PG_GETARG_INT32(2) < 0)
        throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE, "partition must not be negative"};
    return pg::call([&] {
        return Partition{PointerGetDatum(PG_GETARG_TEXT_PP(0)),
                         PointerGetDatum(PG_GETARG_TEXT_PP(1)), PG_GETARG_DATUM(2)};
    });
}

Range range_of(FunctionCallInfo fcinfo) {
    require_argument(fcinfo, 3, "first");
    require_argument(fcinfo, 4, "last");
    Range range{PG_GETARG_INT64(3), PG_GETARG_INT64(4), std::nullopt};
    if (range.first < 0 || range.last == std::numeric_limits<int64>::max())
        throw pg::Failure{kImplausiblePosition, "implausible offset"};
    if (range.last < range.first - 1)
        throw pg::Failure{ERRCODE_INVALID_PARAMETER_VALUE,
                          "last offset must not be below the first",
                          "The offset before the first one says that the range is empty."};
    if (!PG_ARGISNULL(5))
        range.fence = PG_GETARG_INT64(5);
    return range;
}

// Server world.
std::optional<int64> stored_fence(const Partition &partition) {
    const Datum key[] = {partition.group, partition.topic, partition.number};
    std::optional<int64> fence;
    PushActiveSnapshot(GetTransactionSnapshot());
    KeyedTable table;
    open_for_lookup(table, known_table("offset_fence"), {kFence, kKeys}, GetActiveSnapshot());
    if (find(table, key))
        fence = DatumGetInt64(value_of(table, kValue));
    close(table);
    PopActiveSnapshot();
    return fence;
}

void store_fence(const Partition &partition, int64 fence) {
    change_row(
        "offset_fence", kFence, {partition.group, partition.topic, partition.number},
        [](KeyedTable *) { return Step::write; },
        [&](Datum *row, bool *) { row[kValue] = Int64GetDatum(fence); });
}

Answer answer_to(const Range &range, std::optional<int64> next, std::optional<int64> fence) {
    if (range.fence && fence && *range.fence < *fence)
        return {Verdict::fenced, next};
    if (!next)
        return {Verdict::fresh, range.first};
    if (range.last < *next)
        return {Verdict::duplicate, next};
    if (range.first > *next)
        return {Verdict::fresh, range.first, range.fence.has_value()};
    return {Verdict::fresh, next};
}

Answer accept_offset(const Partition &partition, const Range &range) {
    Answer answer;
    std::optional<int64> fence;
    pg::call([&] {
        change_row(
            "consumer_offset", kNext, {partition.group, partition.topic, partition.number},
            [&](KeyedTable *found) {
                std::optional<int64> next;
                bool isnull = true;
                if (const Datum value = found ? value_of(*found, kValue, &isnull) : 0; !isnull)
                    next = DatumGetInt64(value);
                fence = stored_fence(partition);
                answer = answer_to(range, next, fence);
                if (answer.verdict != Verdict::fresh)
                    return Step::leave;
                return answer.gap ? Step::look_again : Step::write;
            },
            [&](Datum *row, bool *) { row[kValue] = Int64GetDatum(range.last + 1); });
        if (answer.verdict == Verdict::fresh && !answer.gap && range.fence && range.fence != fence)
            store_fence(partition, *range.fence);
    });
    return answer;
}

Datum row_of(FunctionCallInfo fcinfo, const Answer &answer) {
    static constexpr pg::Column kColumns[] = {{"verdict", pg::kEnum}, {"next", INT8OID}};
    pg::ResultRow row(fcinfo, kColumns);
    row.set_label(0, kVerdicts[static_cast<int>(answer.verdict)]);
    row.set(1, Int64GetDatum(answer.next.value_or(0)), !answer.next);
    return row.datum();
}

// The session that is just writing the row, 0 for nobody, -1 for a prepared transaction. Server
// world.
int writer_process(const Partition &partition) {
    const Datum key[] = {partition.group, partition.topic, partition.number};
    KeyedTable table;
    open_for_insert(table, known_table("consumer_offset"), {kNext, kKeys});
    const TransactionId writer = writer_of(table, key);
    close(table);
    if (!TransactionIdIsValid(writer))
        return 0;
    const int process = BackendXidGetPid(SubTransGetTopmostTransaction(writer));
    return process ? process : TransactionIdIsInProgress(writer) ? -1 : 0;
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_accept_offset);
PGDLLEXPORT Datum once_accept_offset(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const once::Partition partition = once::partition_of(fcinfo);
        const once::Range range = once::range_of(fcinfo);
        once::check_writable("once.accept_offset()");
        const once::Answer answer = once::accept_offset(partition, range);
        if (answer.gap)
            throw pg::Failure{once::kImplausiblePosition,
                              "first offset " + std::to_string(range.first) +
                                  " is above the next one to process",
                              "Offsets between the two would be lost.",
                              "Claim the partition again and go on from the offset that "
                              "once.offset_claim returns."};
        return once::row_of(fcinfo, answer);
    });
}

PG_FUNCTION_INFO_V1(once_offset_writer);
PGDLLEXPORT Datum once_offset_writer(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const once::Partition partition = once::partition_of(fcinfo);
        return Int32GetDatum(pg::call([&] { return once::writer_process(partition); }));
    });
}

} // extern "C"
