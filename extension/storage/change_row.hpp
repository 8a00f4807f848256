// One row that is changed by its own content: read, decide, lock, decide again, write.
#pragma once

#include "storage/keyed_table.hpp"

#include <algorithm>
#include <initializer_list>

extern "C" {
#include <utils/snapmgr.h>
}

namespace once {

// What is to become of a row: nothing; the same question again once it is locked; a new version.
enum class Step { leave, look_again, write };

// A fresh snapshot each time: our own statement may have written the row just now. Server world;
// the functions may stand twice before the row is locked.
//   decide(found) → Step; `found` is null for a row that is not there
//   row(values, nulls) → fills the columns behind the key, in the order of `columns`
template <size_t N, typename Decide, typename Row>
void change_row(const char *name, const pg::Column (&columns)[N], std::initializer_list<Datum> key,
                Decide &&decide, Row &&row) {
    const Oid heap = known_table(name);
    const RowShape shape{columns, static_cast<int>(key.size())};
    for (bool done = false; !done;) {
        PushActiveSnapshot(GetTransactionSnapshot());
        const Snapshot snapshot = GetActiveSnapshot();
        KeyedTable table;
        open_for_lookup(table, heap, shape, snapshot);
        const bool there = find_again(table, key.begin());
        const Step step = decide(there ? &table : nullptr);
        close(table);
        Datum values[N] = {};
        bool nulls[N] = {};
        std::copy(key.begin(), key.end(), values);
        if (step == Step::leave) {
            done = true;
        } else if (there) {
            open_for_update(table, heap, shape, snapshot);
            done = lock(table, key.begin(), snapshot);
            if (done && decide(&table) == Step::write) {
                row(values, nulls);
                update(table, values, snapshot, nulls);
            }
            close(table);
        } else {
            row(values, nulls);
            open_for_insert(table, heap, shape);
            done = insert(table, values, snapshot, nulls) == Insertion::done;
            close(table);
            CommandCounterIncrement();
        }
        PopActiveSnapshot();
    }
}

} // namespace once
