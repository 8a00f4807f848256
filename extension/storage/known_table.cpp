#include "storage/known_table.hpp"

#include "pg/session_cache.hpp"

extern "C" {
#include <catalog/namespace.h>
#include <utils/lsyscache.h>
}

namespace once {

Oid table_named(const char *name) {
    const Oid table = get_relname_relid(name, get_namespace_oid("once", false));
    if (!OidIsValid(table))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("relation \"once.%s\" does not exist", name)));
    return table;
}

namespace {

struct KnownTable {
    const char *name = nullptr;
    Oid table = InvalidOid;
};
constexpr int kMostKnown = 8;
KnownTable known[kMostKnown];

// Only tags: the next lookup finds the table again, or that it is gone.
void forget_table(void *, Oid relation) noexcept {
    for (KnownTable &one : known)
        if (!OidIsValid(relation) || relation == one.table)
            one.name = nullptr;
}

} // namespace

Oid known_table(const char *name) {
    pg::watch_relations(forget_table);
    for (const KnownTable &one : known)
        if (one.name && strcmp(one.name, name) == 0)
            return one.table;
    const Oid table = table_named(name);
    for (KnownTable &one : known)
        if (!one.name) {
            one = {name, table};
            break;
        }
    return table;
}

} // namespace once
