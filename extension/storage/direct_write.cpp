#include "storage/direct_write.hpp"

#include "pg/compat.hpp"

#include <algorithm>

extern "C" {
#include <access/genam.h>
#include <executor/executor.h>
}

namespace once {

void refuse_triggers(Relation table) {
    if (table->trigdesc)
        ereport(ERROR,
                (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                 errmsg("table \"once.%s\" has triggers", RelationGetRelationName(table)),
                 errdetail("Its rows are written past the executor, which would not fire them."),
                 errhint("Drop what was added to the table.")));
}

bool has_further_indexes(Relation table, int own) {
    (void)pg::primary_key_of(table); // the list is read if it is not valid
    return list_length(table->rd_indexlist) > own;
}

void add_to_further_indexes(Relation table, std::initializer_list<Oid> own, TupleTableSlot *row) {
    EState *executor = CreateExecutorState();
    ResultRelInfo *target = makeNode(ResultRelInfo);
    InitResultRelInfo(target, table, 0, nullptr, 0);
    ExecOpenIndices(target, false);
    int kept = 0;
    for (int i = 0; i < target->ri_NumIndices; ++i) {
        const Relation index = target->ri_IndexRelationDescs[i];
        if (std::find(own.begin(), own.end(), RelationGetRelid(index)) != own.end()) {
            index_close(index, RowExclusiveLock);
            continue;
        }
        target->ri_IndexRelationDescs[kept] = index;
        target->ri_IndexRelationInfo[kept++] = target->ri_IndexRelationInfo[i];
    }
    target->ri_NumIndices = kept;
    pg::insert_index_entries(target, row, executor);
    ExecCloseIndices(target);
    FreeExecutorState(executor);
}

} // namespace once
