// For functions that run with the caller's rights (trigger functions): the rights of a relation's
// owner, for a scope, as referential integrity triggers do it.
#pragma once

#include "pg/boundary.hpp"

extern "C" {
#include <access/htup_details.h>
#include <catalog/namespace.h>
#include <catalog/pg_class.h>
#include <utils/lsyscache.h>
#include <utils/syscache.h>
}

namespace pg {

// The relation's oid, or InvalidOid. Two lookups in the catalog cache: cheap, and never stale.
inline Oid relation_oid(const char *schema, const char *relation) {
    return call([&] { return get_relname_relid(relation, get_namespace_oid(schema, true)); });
}

// Server world, within call(). An oid that SQL brought may name nothing: 42P01, where the server's
// own functions would report an internal error.
inline Oid require_relation(Oid relation) {
    if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation)))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("relation with OID %u does not exist", relation)));
    return relation;
}

class OwnerScope {
  public:
    // `more`: SECURITY_RESTRICTED_OPERATION where the owner is not ours.
    explicit OwnerScope(Oid relation, int more = 0) {
        const Oid owner = call([&] {
            HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
            if (!HeapTupleIsValid(tuple))
                elog(ERROR, "cache lookup failed for relation %u", relation);
            const Oid relowner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
            ReleaseSysCache(tuple);
            return relowner;
        });
        GetUserIdAndSecContext(&user_, &context_);
        SetUserIdAndSecContext(owner, context_ | SECURITY_LOCAL_USERID_CHANGE |
                                          SECURITY_NOFORCE_RLS | more);
    }
    ~OwnerScope() { SetUserIdAndSecContext(user_, context_); }
    OwnerScope(const OwnerScope &) = delete;
    OwnerScope &operator=(const OwnerScope &) = delete;

  private:
    Oid user_;
    int context_;
};

} // namespace pg
