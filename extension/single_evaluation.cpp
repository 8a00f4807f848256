// Functions with a lasting effect, where PostgreSQL may evaluate an expression twice.
//
// UPDATE, DELETE, MERGE and SELECT ... FOR UPDATE that waited for a row evaluate their conditions,
// new values and select list again on the row's new version (EvalPlanQual). The first call of a
// function has left its effect by then: `UPDATE ... WHERE once.accept(...) = 'new'` finds its own
// id to be a duplicate and updates nothing, and a published event tells of a state that never was.
//
// The planner asks the support function of such a function whether a call can be simplified, and
// shows it the query. That is the moment to refuse.
#include "pg/boundary.hpp"
#include "pg/compat.hpp"

extern "C" {
#include <nodes/nodeFuncs.h>
#include <nodes/pathnodes.h>
#include <nodes/supportnodes.h>
#include <optimizer/optimizer.h>
#include <utils/lsyscache.h>
}

namespace {

// Whether rows are locked while the query runs.
const char *locking_statement(const Query *query) {
    switch (query->commandType) {
    case CMD_UPDATE:
        return "UPDATE";
    case CMD_DELETE:
        return "DELETE";
    case CMD_SELECT:
        return query->rowMarks ? "SELECT with a row lock" : nullptr;
    default:
        return pg::is_merge(query) ? "MERGE" : nullptr;
    }
}

bool calls(Node *node, void *function) {
    if (node == nullptr || IsA(node, Query)) // a sub-select is planned, and asked about, by itself
        return false;
    if (IsA(node, FuncExpr) &&
        reinterpret_cast<FuncExpr *>(node)->funcid == *static_cast<Oid *>(function))
        return true;
    return pg::walk_expression(node, static_cast<bool (*)(Node *, void *)>(calls), function);
}

bool calls(const void *expression, Oid function) {
    return calls(static_cast<Node *>(const_cast<void *>(expression)), &function);
}

// A function or a list of values as a table.
bool stands_in_from(const Query *query, Oid function) {
    ListCell *cell;
    foreach (cell, query->rtable) {
        const auto *table = static_cast<RangeTblEntry *>(lfirst(cell));
        if (calls(table->functions, function) || calls(table->values_lists, function))
            return true;
    }
    return false;
}

// Not RETURNING, which sees the row that was written, and not FROM, whose rows are kept. What
// stands nowhere in the query came out of a function that was put in its place.
bool is_evaluated_again(const Query *query, Oid function) {
    if (calls(query->targetList, function) || calls(query->jointree, function) ||
        pg::walk_merge(query, static_cast<bool (*)(Node *, void *)>(calls), &function))
        return true;
    return !calls(query->returningList, function) && !stands_in_from(query, function);
}

// A sub-select that refers to the row is evaluated for each version of it; one that does not is
// evaluated once.
bool depends_on_outer_row(PlannerInfo *root) {
    return contain_vars_of_level(reinterpret_cast<Node *>(root->parse), 1) ||
           root->parent_root->plan_params != NIL;
}

void refuse(Oid function, const char *statement) {
    ereport(ERROR,
            (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
             errmsg("once.%s cannot be called in a condition, new value or select list of %s",
                    get_func_name(function), statement),
             errdetail("When the statement has waited for a row it evaluates them again, and the "
                       "function would have its effect twice."),
             errhint("Call it in a WITH query, in a sub-select that does not refer to the row, in "
                     "RETURNING, in a trigger or in a statement of its own.")));
}

void check(PlannerInfo *root, Oid function) {
    if (const char *statement = locking_statement(root->parse);
        statement && is_evaluated_again(root->parse, function))
        refuse(function, statement);
    for (PlannerInfo *inner = root; inner->parent_root && depends_on_outer_row(inner);
         inner = inner->parent_root)
        if (const char *statement = locking_statement(inner->parent_root->parse))
            refuse(function, statement);
}

} // namespace

extern "C" {

PG_FUNCTION_INFO_V1(once_single_evaluation);
PGDLLEXPORT Datum once_single_evaluation(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        auto *request = reinterpret_cast<Node *>(PG_GETARG_POINTER(0));
        if (IsA(request, SupportRequestSimplify)) {
            const auto *simplify = reinterpret_cast<SupportRequestSimplify *>(request);
            if (simplify->root)
                pg::call([&] { check(simplify->root, simplify->fcall->funcid); });
        }
        return PointerGetDatum(nullptr);
    });
}

} // extern "C"
