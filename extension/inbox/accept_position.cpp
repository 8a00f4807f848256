// once.accept_position, accept_positions and accept_window: one row a source instead of a set of
// ids.
//
// A position at or below what a snapshot shows is a duplicate for good, as positions only rise: no
// lock, no xid. Otherwise the row is locked, so that of two sessions one waits, and decided again
// by what it says then.
#include "arguments.hpp"
#include "storage/change_row.hpp"
#include "errors.hpp"
#include "inbox/message_id.hpp"
#include "pg/boundary.hpp"
#include "pg/compat.hpp"
#include "pg/memory.hpp"
#include "verdict.hpp"
#include "inbox/window.hpp"

extern "C" {
#include <utils/array.h>
#include <utils/tuplestore.h>
}

#include <algorithm>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

namespace once {
namespace {

enum class Verdict { fresh, duplicate, gap };
constexpr const char *kVerdicts[] = {"new", "duplicate", "gap"};
constexpr const char *kWindowVerdicts[] = {"new", "duplicate", "too_old"};

struct Source {
    Datum consumer;
    Datum name;
};

Source source_of(FunctionCallInfo fcinfo) {
    require_argument(fcinfo, 0, "consumer");
    require_argument(fcinfo, 1, "source");
    check_name(pg::bytes_of(PG_GETARG_DATUM(0)), "consumer", kInvalidConsumer);
    check_name(pg::bytes_of(PG_GETARG_DATUM(1)), "source", kInvalidConsumer);
    return pg::call([&] {
        return Source{PointerGetDatum(PG_GETARG_TEXT_PP(0)), PointerGetDatum(PG_GETARG_TEXT_PP(1))};
    });
}

void check_position(int64 position) {
    if (position < 0)
        throw pg::Failure{kImplausiblePosition, "position must not be negative"};
}

Verdict accept_position(const Source &source, int64 position, std::optional<int64> previous) {
    Verdict verdict{};
    pg::call([&] {
        change_row<3>(
            "position", {source.consumer, source.name},
            [&](KeyedTable *found) {
                // An unseen source stands nowhere, and its numbering may begin with 0 or with 1.
                const int64 stored = found ? DatumGetInt64(column(*found, 3)) : -1;
                const bool follows = !previous || *previous == stored || (!found && *previous <= 0);
                verdict = position <= stored ? Verdict::duplicate
                          : follows          ? Verdict::fresh
                                             : Verdict::gap;
                if (verdict == Verdict::fresh)
                    return Step::write;
                // Somebody may just be writing the position that is missing.
                return verdict == Verdict::gap && found && *previous > stored ? Step::look_again
                                                                              : Step::leave;
            },
            [&](Datum *row, bool *) { row[2] = Int64GetDatum(position); });
    });
    return verdict;
}

std::vector<int64> positions_of(Datum array) {
    Datum *values = nullptr;
    bool *nulls = nullptr;
    int count = 0;
    pg::call([&] {
        deconstruct_array(DatumGetArrayTypeP(array), INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
                          TYPALIGN_DOUBLE, &values, &nulls, &count);
    });
    std::vector<int64> positions(count);
    for (int i = 0; i < count; ++i) {
        if (nulls[i])
            throw pg::Failure{ERRCODE_NULL_VALUE_NOT_ALLOWED, "position must not be null"};
        positions[i] = DatumGetInt64(values[i]);
        check_position(positions[i]);
    }
    return positions;
}

// A batch is a set: what is above the stored position is new, in whatever order it stands, once
// each.
// Each position once: above `stored`, and the first of its kind in the batch. Batches mostly come
// in the order of the log.
std::vector<Verdict> verdicts_of(const std::vector<int64> &positions, int64 stored) {
    std::vector<Verdict> verdicts(positions.size(), Verdict::duplicate);
    std::vector<int> order(positions.size());
    std::iota(order.begin(), order.end(), 0);
    if (!std::is_sorted(positions.begin(), positions.end()))
        std::stable_sort(order.begin(), order.end(),
                         [&](int a, int b) { return positions[a] < positions[b]; });
    int64 last = stored;
    for (const int i : order) {
        if (positions[i] > last)
            verdicts[i] = Verdict::fresh;
        last = std::max(last, positions[i]);
    }
    return verdicts;
}

std::vector<Verdict> accept_positions(const Source &source, const std::vector<int64> &positions) {
    const int64 highest = *std::max_element(positions.begin(), positions.end());
    int64 stored = -1;
    pg::call([&] {
        change_row<3>(
            "position", {source.consumer, source.name},
            [&](KeyedTable *found) {
                stored = found ? DatumGetInt64(column(*found, 3)) : -1;
                return highest > stored ? Step::write : Step::leave;
            },
            [&](Datum *row, bool *) { row[2] = Int64GetDatum(highest); });
    });
    return verdicts_of(positions, stored);
}

void return_rows(FunctionCallInfo fcinfo, std::span<const Verdict> verdicts) {
    pg::call([&] {
        auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
        const Oid type = TupleDescAttr(result->setDesc, 1)->atttypid;
        const Datum labels[] = {pg::enum_datum(type, kVerdicts[0]),
                                pg::enum_datum(type, kVerdicts[1])};
        bool nulls[2] = {false, false};
        for (size_t i = 0; i < verdicts.size(); ++i) {
            Datum values[2] = {Int32GetDatum(static_cast<int32>(i + 1)),
                               labels[static_cast<int>(verdicts[i])]};
            tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
        }
    });
}

// The row's two last columns. Server world.
Window window_of(KeyedTable &table) {
    const int64 highest = DatumGetInt64(column(table, 3));
    const auto *seen = DatumGetByteaPP(column(table, 4));
    if (VARSIZE_ANY_EXHDR(seen) != Window::kSize / 8)
        ereport(ERROR,
                (errcode(ERRCODE_DATA_CORRUPTED), errmsg("bitmap of a window has a wrong size")));
    return {highest, reinterpret_cast<const uint8 *>(VARDATA_ANY(seen))};
}

Window::Verdict accept_window(const Source &source, int64 position) {
    Window::Verdict verdict{};
    pg::call([&] {
        Window window;
        change_row<4>(
            "position_window", {source.consumer, source.name},
            [&](KeyedTable *found) {
                window = found ? window_of(*found) : Window();
                verdict = window.check(position);
                return verdict == Window::Verdict::fresh ? Step::write : Step::leave;
            },
            [&](Datum *row, bool *) {
                window.accept(position);
                const auto &bits = window.bits();
                auto *seen = static_cast<bytea *>(palloc(VARHDRSZ + bits.size()));
                SET_VARSIZE(seen, VARHDRSZ + bits.size());
                memcpy(VARDATA(seen), bits.data(), bits.size());
                row[2] = Int64GetDatum(window.highest());
                row[3] = PointerGetDatum(seen);
            });
    });
    return verdict;
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_accept_position);
PGDLLEXPORT Datum once_accept_position(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const once::Source source = once::source_of(fcinfo);
        once::require_argument(fcinfo, 2, "position");
        once::check_writable("once.accept_position()");
        const int64 position = PG_GETARG_INT64(2);
        once::check_position(position);
        std::optional<int64> previous;
        if (!PG_ARGISNULL(3))
            previous = PG_GETARG_INT64(3);
        if (previous && *previous >= position)
            throw pg::Failure{once::kImplausiblePosition,
                              "expected_previous must be lower than the position"};
        const auto verdict = once::accept_position(source, position, previous);
        static once::ReturnedVerdicts verdicts;
        return verdicts.of(fcinfo, once::kVerdicts, static_cast<int>(verdict));
    });
}

PG_FUNCTION_INFO_V1(once_accept_positions);
PGDLLEXPORT Datum once_accept_positions(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const once::Source source = once::source_of(fcinfo);
        once::require_argument(fcinfo, 2, "positions");
        once::check_writable("once.accept_positions()");
        pg::call([&] { pg::answer_with_rows(fcinfo); });
        const std::vector<int64> positions = once::positions_of(PG_GETARG_DATUM(2));
        if (!positions.empty())
            once::return_rows(fcinfo, once::accept_positions(source, positions));
        return static_cast<Datum>(0);
    });
}

PG_FUNCTION_INFO_V1(once_accept_window);
PGDLLEXPORT Datum once_accept_window(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const once::Source source = once::source_of(fcinfo);
        once::require_argument(fcinfo, 2, "position");
        once::check_writable("once.accept_window()");
        const int64 position = PG_GETARG_INT64(2);
        once::check_position(position);
        const auto verdict = once::accept_window(source, position);
        if (verdict == once::Window::Verdict::implausible)
            throw pg::Failure{once::kImplausiblePosition,
                              "position " + std::to_string(position) + " is implausible",
                              "It is more than 2^40 above the highest position seen.",
                              "Where the source started over, give it a new source name."};
        static once::ReturnedVerdicts verdicts;
        return verdicts.of(fcinfo, once::kWindowVerdicts, static_cast<int>(verdict));
    });
}

} // extern "C"
