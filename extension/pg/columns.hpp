// Columns of a table or row type, found by name and checked by type.
//
// A session keeps the library that it loaded for its whole life, while an update of the extension
// (or a hand) changes the tables under it. A column more is harmless: it is not read, and written
// as null. A column less, one of another type, or one more that cannot be null is an error (55000)
// before anything is read or written.
//
// Server world, trivially destructible: everything may ERROR, so callers stand inside pg::call.
#pragma once

#include "pg/session_cache.hpp"

extern "C" {
#include <access/htup_details.h>
#include <access/tupdesc.h>
#include <executor/tuptable.h>
#include <utils/lsyscache.h>
#include <utils/rel.h>
}

#include <span>

namespace pg {

constexpr Oid kEnum = InvalidOid; // as a column's type: whichever enum

struct Column {
    const char *name;
    Oid type;
};

constexpr int kMostColumns = 32;

// Where the wanted columns stand, in the order in which they were asked for; numbers from 1.
struct ColumnMap {
    int count;
    AttrNumber number[kMostColumns];
};

enum class Use { read, write };

namespace detail {

[[noreturn]] inline void wrong_shape(const char *object, const char *detail) {
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("%s has another shape than the library of this session expects", object),
             errdetail_internal("%s", detail),
             errhint("After an update of the extension open a new session; after an update of the "
                     "library run ALTER EXTENSION ... UPDATE; a change made by hand must be "
                     "undone.")));
    pg_unreachable();
}

inline bool is_of_type(Oid found, Oid wanted) {
    if (found == wanted && OidIsValid(wanted))
        return true;
    const Oid base = getBaseType(found);
    return OidIsValid(wanted) ? base == wanted : type_is_enum(base);
}

// `hint`: where it stands if nobody changed anything.
inline AttrNumber number_of(TupleDesc shape, const Column &wanted, int hint, const char *object) {
    const auto is_it = [&](int i) {
        const Form_pg_attribute found = TupleDescAttr(shape, i);
        return !found->attisdropped && strcmp(NameStr(found->attname), wanted.name) == 0;
    };
    int at = hint < shape->natts && is_it(hint) ? hint : 0;
    while (at < shape->natts && !is_it(at))
        ++at;
    const char *type = OidIsValid(wanted.type) ? format_type_be(wanted.type) : "an enum";
    if (at == shape->natts)
        wrong_shape(object, psprintf("It has no column \"%s\" of type %s.", wanted.name, type));
    const Oid found = TupleDescAttr(shape, at)->atttypid;
    if (!is_of_type(found, wanted.type))
        wrong_shape(object, psprintf("Its column \"%s\" has type %s in place of %s.", wanted.name,
                                     format_type_be(found), type));
    return static_cast<AttrNumber>(at + 1);
}

// Columns that this library does not know are written as null: one that must have a value cannot be
// written.
inline void check_others(TupleDesc shape, const ColumnMap &known, const char *object) {
    for (int i = 0; i < shape->natts; ++i) {
        const Form_pg_attribute found = TupleDescAttr(shape, i);
        bool is_known = found->attisdropped || !(found->attnotnull || found->attgenerated);
        for (int k = 0; !is_known && k < known.count; ++k)
            is_known = known.number[k] == i + 1;
        if (!is_known)
            wrong_shape(object, psprintf("Its column \"%s\" needs a value that this library does "
                                         "not know.",
                                         NameStr(found->attname)));
    }
}

struct KnownColumns {
    Oid relation;
    Use use;
    const Column *wanted;
    ColumnMap map;
};
constexpr Oid kKnown = 256; // relations that share a place only drive each other out
inline KnownColumns known_columns[kKnown];

inline void forget_columns(void *, Oid relation) noexcept {
    if (OidIsValid(relation)) {
        if (known_columns[relation % kKnown].relation == relation)
            known_columns[relation % kKnown].relation = InvalidOid;
        return;
    }
    for (KnownColumns &one : known_columns)
        one.relation = InvalidOid;
}

} // namespace detail

// Of a row type. `object` is how errors call it.
inline ColumnMap columns_of(TupleDesc shape, std::span<const Column> wanted, const char *object) {
    ColumnMap map{};
    if (wanted.size() > kMostColumns)
        elog(ERROR, "too many columns of %s", object);
    for (const Column &one : wanted) {
        map.number[map.count] = detail::number_of(shape, one, map.count, object);
        ++map.count;
    }
    return map;
}

// Of a table, which must be locked. Remembered until the table changes; `wanted` is a static array.
inline ColumnMap columns_of(Relation table, std::span<const Column> wanted, Use use) {
    const Oid relation = RelationGetRelid(table);
    detail::KnownColumns &known = detail::known_columns[relation % detail::kKnown];
    if (known.relation == relation && known.wanted == wanted.data() &&
        (known.use == use || use == Use::read))
        return known.map;
    watch_relations(detail::forget_columns);
    const char *object =
        psprintf("table \"%s.%s\"", get_namespace_name(RelationGetNamespace(table)),
                 RelationGetRelationName(table));
    const ColumnMap map = columns_of(RelationGetDescr(table), wanted, object);
    if (use == Use::write)
        detail::check_others(RelationGetDescr(table), map, object);
    known = {relation, use, wanted.data(), map};
    return map;
}

// The wanted columns of a row, in their order.
inline void read_row(HeapTuple row, TupleDesc shape, const ColumnMap &map, Datum *values,
                     bool *nulls) {
    Datum every[MaxTupleAttributeNumber];
    bool null[MaxTupleAttributeNumber];
    heap_deform_tuple(row, shape, every, null);
    for (int i = 0; i < map.count; ++i) {
        values[i] = every[map.number[i] - 1];
        nulls[i] = null[map.number[i] - 1];
    }
}

// One of them.
inline Datum read_column(HeapTuple row, TupleDesc shape, const ColumnMap &map, int i, bool *null) {
    return heap_getattr(row, map.number[i], shape, null);
}

inline Datum read_column(TupleTableSlot *slot, const ColumnMap &map, int i, bool *null) {
    return slot_getattr(slot, map.number[i], null);
}

// A row with these values, in the order of the map; `nulls` nullptr: none is null. All other
// columns are null.
inline void spread(int natts, const ColumnMap &map, const Datum *values, const bool *nulls,
                   Datum *every, bool *null) {
    memset(every, 0, sizeof(Datum) * static_cast<size_t>(natts));
    memset(null, true, static_cast<size_t>(natts));
    for (int i = 0; i < map.count; ++i) {
        every[map.number[i] - 1] = values[i];
        null[map.number[i] - 1] = nulls && nulls[i];
    }
}

// Into a virtual slot.
inline void store_row(TupleTableSlot *slot, const ColumnMap &map, const Datum *values,
                      const bool *nulls) {
    ExecClearTuple(slot);
    spread(slot->tts_tupleDescriptor->natts, map, values, nulls, slot->tts_values,
           slot->tts_isnull);
    ExecStoreVirtualTuple(slot);
}

inline HeapTuple form_row(TupleDesc shape, const ColumnMap &map, const Datum *values,
                          const bool *nulls) {
    Datum every[MaxTupleAttributeNumber];
    bool null[MaxTupleAttributeNumber];
    spread(shape->natts, map, values, nulls, every, null);
    return heap_form_tuple(shape, every, null);
}

} // namespace pg
