// once.accept_position, accept_positions and accept_window: one row a source instead of a set of
// ids.
//
// A position at or below what a snapshot shows is a duplicate for good, as positions only rise: no
// lock, no xid. Otherwise the row is locked, so that of two sessions one waits, and decided again
// by what it says then.
#include "arguments.hpp"
#include "storage/change_row.hpp"
#include "errors.hpp"
#include "digest/message_id.hpp"
#include "pg/array.hpp"
#include "pg/boundary.hpp"
#include "pg/memory.hpp"
#include "pg/row.hpp"
#include "verdict.hpp"
#include "inbox/window.hpp"

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

constexpr pg::Column kPosition[] = {{"consumer", TEXTOID}, {"source", TEXTOID}, {"pos", INT8OID}};
constexpr pg::Column kWindow[] = {
    {"consumer", TEXTOID}, {"source", TEXTOID}, {"highest", INT8OID}, {"seen", BYTEAOID}};
constexpr int kHighest = 2, kSeen = 3;

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
        change_row(
            "position", kPosition, {source.consumer, source.name},
            [&](KeyedTable *found) {
                // An unseen source stands nowhere, and its numbering may begin with 0 or with 1.
                const int64 stored = found ? DatumGetInt64(value_of(*found, kHighest)) : -1;
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
            [&](Datum *row, bool *) { row[kHighest] = Int64GetDatum(position); });
    });
    return verdict;
}

std::vector<int64> positions_of(const pg::Elements &given) {
    std::vector<int64> positions(static_cast<size_t>(given.count));
    for (int i = 0; i < given.count; ++i) {
        if (given.null[i])
            throw pg::Failure{ERRCODE_NULL_VALUE_NOT_ALLOWED, "position must not be null"};
        positions[i] = DatumGetInt64(given.value[i]);
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
        change_row(
            "position", kPosition, {source.consumer, source.name},
            [&](KeyedTable *found) {
                stored = found ? DatumGetInt64(value_of(*found, kHighest)) : -1;
                return highest > stored ? Step::write : Step::leave;
            },
            [&](Datum *row, bool *) { row[kHighest] = Int64GetDatum(highest); });
    });
    return verdicts_of(positions, stored);
}

constexpr pg::Column kAnswer[] = {{"ordinal", INT4OID}, {"verdict", pg::kEnum}};

void return_rows(pg::ResultRows rows, std::span<const Verdict> verdicts) {
    pg::call([&] {
        const Datum labels[] = {pg::enum_datum(rows.type_of(1), kVerdicts[0]),
                                pg::enum_datum(rows.type_of(1), kVerdicts[1])};
        for (size_t i = 0; i < verdicts.size(); ++i) {
            const Datum values[] = {Int32GetDatum(static_cast<int32>(i + 1)),
                                    labels[static_cast<int>(verdicts[i])]};
            rows.put(values);
        }
    });
}

// The row's two last columns. Server world.
Window window_of(KeyedTable &table) {
    const int64 highest = DatumGetInt64(value_of(table, kHighest));
    const auto *seen = DatumGetByteaPP(value_of(table, kSeen));
    if (VARSIZE_ANY_EXHDR(seen) != Window::kSize / 8)
        ereport(ERROR,
                (errcode(ERRCODE_DATA_CORRUPTED), errmsg("window bitmap has the wrong size")));
    return {highest, reinterpret_cast<const uint8 *>(VARDATA_ANY(seen))};
}

Window::Verdict accept_window(const Source &source, int64 position) {
    Window::Verdict verdict{};
    pg::call([&] {
        Window window;
        change_row(
            "position_window", kWindow, {source.consumer, source.name},
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
                row[kHighest] = Int64GetDatum(window.highest());
                row[kSeen] = PointerGetDatum(seen);
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
        pg::ResultRows rows;
        pg::call([&] { rows.begin(fcinfo, once::kAnswer); });
        const std::vector<int64> positions =
            once::positions_of(pg::elements_of(fcinfo, 2, "positions", INT8OID));
        if (!positions.empty())
            once::return_rows(rows, once::accept_positions(source, positions));
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
