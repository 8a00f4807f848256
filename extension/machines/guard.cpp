// Trigger functions over a row's columns: once.guard(machine, column) refuses a state that no
// declared transition leads to, once.lease_assert(lease, column) refuses a row whose fencing token
// is not the lease's present one. They run with the rights of whoever writes the table; the
// definitions are read with their owner's.
#include "arguments.hpp"
#include "errors.hpp"
#include "machines/lease.hpp"
#include "machines/machine.hpp"
#include "machines/row_movement.hpp"
#include "pg/owner.hpp"

extern "C" {
#include <commands/trigger.h>
#include <utils/lsyscache.h>
#include <utils/rel.h>
}

#include <optional>

namespace once {
namespace {

// One firing for one row. Throws 39P01 when the trigger was declared in another way than for rows
// that are written.
class Firing {
  public:
    Firing(FunctionCallInfo fcinfo, const char *function) {
        if (!CALLED_AS_TRIGGER(fcinfo))
            refuse(function, "must be called as a trigger");
        data_ = reinterpret_cast<TriggerData *>(fcinfo->context);
        if (!TRIGGER_FIRED_FOR_ROW(data_->tg_event))
            refuse(function, "must be fired FOR EACH ROW");
        updates_ = TRIGGER_FIRED_BY_UPDATE(data_->tg_event);
        if (!updates_ && !TRIGGER_FIRED_BY_INSERT(data_->tg_event))
            refuse(function, "must be fired for INSERT or UPDATE");
        if (data_->tg_trigger->tgnargs != 2)
            refuse(function, "needs two arguments, a name and a column");
        number_ = pg::call([&] { return SPI_fnumber(shape(), argument(1)); });
        if (number_ <= 0)
            throw pg::Failure{ERRCODE_UNDEFINED_COLUMN, std::string("column \"") + argument(1) +
                                                            "\" of relation \"" + relation_name() +
                                                            "\" does not exist"};
        // Elsewhere the value is that of before the UPDATE or none, and any change would pass.
        const bool stored_after = column()->attgenerated == ATTRIBUTE_GENERATED_STORED &&
                                  TRIGGER_FIRED_AFTER(data_->tg_event);
        if (column()->attgenerated && !stored_after)
            refuse(function, "a generated column must be stored and the trigger AFTER");
    }

    [[nodiscard]] bool updates() const noexcept { return updates_; }
    [[nodiscard]] Relation relation() const noexcept { return data_->tg_relation; }
    [[nodiscard]] bool in_partition() const { return relation()->rd_rel->relispartition; }
    // A move to another partition fires no AFTER trigger as an UPDATE: it would pass as an INSERT.
    void refuse_after_in_partition(const char *function) const {
        if (in_partition() && TRIGGER_FIRED_AFTER(data_->tg_event))
            refuse(function, "must be BEFORE on a partitioned table or a partition: an UPDATE that "
                             "moves a row fires AFTER triggers as a DELETE and an INSERT");
    }
    [[nodiscard]] const char *argument(int index) const { return data_->tg_trigger->tgargs[index]; }
    [[nodiscard]] HeapTuple new_row() const {
        return updates_ ? data_->tg_newtuple : data_->tg_trigtuple;
    }
    [[nodiscard]] HeapTuple old_row() const { return data_->tg_trigtuple; }
    [[nodiscard]] Datum result() const { return PointerGetDatum(new_row()); }
    [[nodiscard]] std::string relation_name() const {
        return RelationGetRelationName(data_->tg_relation);
    }
    // Of a domain what it is made of.
    [[nodiscard]] Oid type() const {
        return pg::call([&] { return getBaseType(column()->atttypid); });
    }

    [[nodiscard]] std::optional<Datum> value(HeapTuple row) const {
        bool null;
        const Datum datum = heap_getattr(row, number_, shape(), &null);
        return null ? std::nullopt : std::optional(datum);
    }
    // The column as text: strings as they are, everything else (enums) through its output function.
    [[nodiscard]] std::optional<std::string_view> text(HeapTuple row) const {
        const auto datum = value(row);
        if (!datum)
            return std::nullopt;
        const Oid declared = column()->atttypid;
        if (declared == TEXTOID || declared == VARCHAROID)
            return pg::bytes_of(*datum);
        if (type() == BPCHAROID) { // what fills it up to its length is not part of it
            const std::string_view padded = pg::bytes_of(*datum);
            return padded.substr(0, padded.find_last_not_of(' ') + 1);
        }
        return std::string_view(pg::call([&] {
            Oid output;
            bool is_varlena;
            getTypeOutputInfo(type(), &output, &is_varlena);
            return OidOutputFunctionCall(output, *datum);
        }));
    }

  private:
    [[nodiscard]] Form_pg_attribute column() const { return TupleDescAttr(shape(), number_ - 1); }
    [[nodiscard]] TupleDesc shape() const { return RelationGetDescr(data_->tg_relation); }
    [[noreturn]] static void refuse(const char *function, const char *why) {
        throw pg::Failure{ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                          std::string(function) + ": " + why};
    }

    TriggerData *data_;
    bool updates_;
    int number_;
};

std::string quoted(const std::optional<std::string_view> &state) {
    return state ? "\"" + std::string(*state) + "\"" : "null";
}

[[noreturn]] void refuse_state(const Firing &firing, const Machine &machine,
                               const std::string &change) {
    throw pg::Failure{kIllegalTransition,
                      "illegal transition of \"" + firing.relation_name() + "\": " + change,
                      "State machine \"" + machine.name() + "\" is guarding column \"" +
                          firing.argument(1) + "\".",
                      firing.in_partition() && !firing.updates()
                          ? "A row that moves from another partition is known by a guard BEFORE "
                            "UPDATE, without WHEN and OF."
                          : ""};
}

void judge(const Firing &firing, const std::optional<std::string_view> &from,
           const std::optional<std::string_view> &to) {
    if (from == to) // other columns change
        return;
    const auto machine = once::machine(firing.argument(0));
    if (!from || !to || !machine->connects(*from, *to))
        refuse_state(firing, *machine, "from " + quoted(from) + " to " + quoted(to));
}

void guard_new_row(const Firing &firing, const std::optional<std::string_view> &state) {
    const auto machine = once::machine(firing.argument(0));
    if (!state || *state != machine->initial())
        refuse_state(firing, *machine,
                     "a new row starts in \"" + machine->initial() + "\", not in " + quoted(state));
}

void guard(const Firing &firing) {
    firing.refuse_after_in_partition("once.guard");
    const auto to = firing.text(firing.new_row());
    std::string what = std::string(firing.argument(0)) + '\n' + firing.argument(1);
    if (!firing.updates()) {
        const Movement movement = movement_into(firing.relation(), what);
        if (movement.is_one)
            judge(firing, movement.from, to);
        else
            guard_new_row(firing, to);
        return;
    }
    const auto from = firing.text(firing.old_row());
    judge(firing, from, to);
    if (firing.in_partition())
        note_update(firing.relation(), firing.old_row(), std::move(what),
                    from ? std::optional(std::string(*from)) : std::nullopt);
}

void assert_lease(const Firing &firing) {
    if (firing.type() != INT8OID)
        throw pg::Failure{ERRCODE_DATATYPE_MISMATCH,
                          std::string("column \"") + firing.argument(1) + "\" of relation \"" +
                              firing.relation_name() + "\" must be of type bigint"};
    const auto token = firing.value(firing.new_row());
    require_lease(firing.argument(0), token ? std::optional(DatumGetInt64(*token)) : std::nullopt);
}

} // namespace
} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_guard);
PGDLLEXPORT Datum once_guard(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const once::Firing firing(fcinfo, "once.guard");
        once::guard(firing);
        return firing.result();
    });
}

PG_FUNCTION_INFO_V1(once_lease_assert_row);
PGDLLEXPORT Datum once_lease_assert_row(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const once::Firing firing(fcinfo, "once.lease_assert");
        once::assert_lease(firing);
        return firing.result();
    });
}

} // extern "C"
