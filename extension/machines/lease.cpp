// once.lease_assert(name, token), and what its trigger form calls. lease and lease_release are
// plain SQL.
#include "machines/lease.hpp"

#include "arguments.hpp"
#include "errors.hpp"
#include "pg/owner.hpp"
#include "pg/spi.hpp"

namespace once {

void require_lease(std::string_view name, std::optional<int64> token) {
    // FOR KEY SHARE: a take-over locks the row FOR UPDATE before it changes the token, and waits; a
    // renewal does not.
    static pg::Plan plan("SELECT token, coalesce(expires_at OPERATOR(pg_catalog.>) "
                         "pg_catalog.clock_timestamp(), false) "
                         "FROM once.lease_state WHERE name OPERATOR(pg_catalog.=) $1 FOR KEY SHARE",
                         {TEXTOID});
    const pg::OwnerScope owner(pg::relation_oid("once", "lease_state"));
    const pg::Spi spi;
    const Datum key = pg::varlena_of(name);
    plan.execute({&key, 1});
    const std::string lease = "lease \"" + std::string(name) + "\"";
    if (SPI_processed == 0)
        throw pg::Failure{kLeaseLost, lease + " does not exist"};
    bool null;
    HeapTuple row = SPI_tuptable->vals[0];
    const int64 newest = DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &null));
    const bool alive = DatumGetBool(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &null));
    if (!token || *token != newest)
        throw pg::Failure{kLeaseLost, lease + " is lost",
                          "Token " + (token ? std::to_string(*token) : "null") +
                              " is not the newest, which is " + std::to_string(newest) + "."};
    if (!alive)
        throw pg::Failure{kLeaseLost, lease + " is lost", "It lapsed or was released.",
                          "Take it again with once.lease and go on with the new token."};
}

} // namespace once

extern "C" {

PG_FUNCTION_INFO_V1(once_lease_assert);
PGDLLEXPORT Datum once_lease_assert(PG_FUNCTION_ARGS) {
    return pg::entry([&]() -> Datum {
        const auto name = once::name_argument(fcinfo, 0, "lease");
        once::require_argument(fcinfo, 1, "token");
        once::require_lease(name, PG_GETARG_INT64(1));
        PG_RETURN_VOID();
    });
}

} // extern "C"
