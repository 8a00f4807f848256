// Results of functions with OUT parameters or a row type, filled by the names of the columns. What
// the function's declaration has and nobody sets is null.
#pragma once

#include "pg/columns.hpp"
#include "pg/compat.hpp"
#include "pg/value.hpp"

extern "C" {
#include <utils/tuplestore.h>
}

namespace pg {

namespace detail {

inline ColumnMap result_columns(FunctionCallInfo fcinfo, TupleDesc shape,
                                std::span<const Column> columns) {
    return columns_of(
        shape, columns,
        psprintf("the result of function \"%s\"", get_func_name(fcinfo->flinfo->fn_oid)));
}

} // namespace detail

// One row of the function's own result type. Trivially destructible; the members may ERROR only
// inside pg::call, which they bring themselves.
class ResultRow {
  public:
    ResultRow(FunctionCallInfo fcinfo, std::span<const Column> columns) {
        call([&] {
            if (get_call_result_type(fcinfo, nullptr, &shape_) != TYPEFUNC_COMPOSITE)
                elog(ERROR, "return type must be a row type");
            map_ = detail::result_columns(fcinfo, shape_, columns);
        });
        for (bool &null : null_)
            null = true;
    }

    void set(int column, Datum value, bool null = false) noexcept {
        value_[column] = value;
        null_[column] = null;
    }
    // The label of a column that is an enum.
    void set_label(int column, const char *label) {
        const Oid type = TupleDescAttr(shape_, map_.number[column] - 1)->atttypid;
        set(column, call([&] { return enum_datum(type, label); }));
    }
    [[nodiscard]] Datum datum() const {
        return call([&] {
            return HeapTupleGetDatum(form_row(BlessTupleDesc(shape_), map_, value_, null_));
        });
    }

  private:
    TupleDesc shape_ = nullptr;
    ColumnMap map_{};
    Datum value_[kMostColumns]{};
    bool null_[kMostColumns];
};

// One row with these values, in the order of `columns`. `nulls` may be nullptr: none is.
inline Datum row(FunctionCallInfo fcinfo, std::span<const Column> columns, const Datum *values,
                 const bool *nulls = nullptr) {
    ResultRow made(fcinfo, columns);
    for (size_t i = 0; i < columns.size(); ++i)
        made.set(static_cast<int>(i), values[i], nulls && nulls[i]);
    return made.datum();
}

// A set of rows: begin() once, put() for each. Server world, trivially destructible.
struct ResultRows {
    ReturnSetInfo *result;
    ColumnMap map;
    Datum *every;
    bool *null;

    void begin(FunctionCallInfo fcinfo, std::span<const Column> columns) {
        answer_with_rows(fcinfo);
        result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
        map = detail::result_columns(fcinfo, result->setDesc, columns);
        every = static_cast<Datum *>(palloc(sizeof(Datum) * static_cast<Size>(natts())));
        null = static_cast<bool *>(palloc(static_cast<Size>(natts())));
    }
    // `values` in the order of `columns`.
    void put(const Datum *values, const bool *nulls = nullptr) {
        spread(natts(), map, values, nulls, every, null);
        tuplestore_putvalues(result->setResult, result->setDesc, every, null);
    }
    // The enum type of a column.
    [[nodiscard]] Oid type_of(int column) const {
        return TupleDescAttr(result->setDesc, map.number[column] - 1)->atttypid;
    }

  private:
    [[nodiscard]] int natts() const { return result->setDesc->natts; }
};

} // namespace pg
