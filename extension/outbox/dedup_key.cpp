#include "outbox/dedup_key.hpp"

#include "pg/memory.hpp"
#include "pg/owner.hpp"
#include "pg/spi.hpp"
#include "pg/value.hpp"

#include <optional>

namespace once {
namespace {

constexpr int kGenerations = 3;

struct Wheel {
    int generation;
    bool closing;
};

class Keys {
  public:
    Keys(Datum topic, std::string_view key, const EventId &mine)
        : values_{topic, pg::varlena_of(key), pg::uuid_of(mine)}, mine_(mine) {}

    // Tables that are not written any more are looked into; the others take the key. Every
    // statement has a snapshot at least as new as the one that showed the wheel.
    EventId claim() {
        const Wheel wheel = this->wheel();
        const int next = (wheel.generation + 1) % kGenerations;
        for (int g = 0; g < kGenerations; ++g)
            if (wheel.closing ||
                g != wheel.generation) // while closing: a known key is not carried over
                if (const auto first = find(g))
                    return *first;
        if (wheel.closing && !insert(next))
            return first_of(wheel.generation, next);
        if (insert(wheel.generation))
            return mine_;
        const EventId first = first_of(wheel.generation, wheel.generation);
        if (wheel
                .closing) // ours stands in the next generation already: it must tell the same story
            replace(next, first);
        return first;
    }

  private:
    static Wheel wheel() {
        static pg::Plan plan("SELECT generation::pg_catalog.int2, closing_xid IS NOT NULL "
                             "FROM once.memory WHERE family OPERATOR(pg_catalog.=) 'publish_key'",
                             {});
        plan.execute({});
        if (SPI_processed != 1)
            throw pg::Failure{ERRCODE_DATA_CORRUPTED, "once.memory has no row for dedup keys"};
        bool null;
        HeapTuple row = SPI_tuptable->vals[0];
        return {DatumGetInt16(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &null)),
                DatumGetBool(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &null))};
    }

    std::optional<EventId> find(int generation) {
        static pg::Plan plans[kGenerations] = {
            {"SELECT id::pg_catalog.uuid FROM once.publish_key_0 "
             "WHERE topic OPERATOR(pg_catalog.=) $1 AND dedup_key OPERATOR(pg_catalog.=) $2",
             {TEXTOID, TEXTOID}},
            {"SELECT id::pg_catalog.uuid FROM once.publish_key_1 "
             "WHERE topic OPERATOR(pg_catalog.=) $1 AND dedup_key OPERATOR(pg_catalog.=) $2",
             {TEXTOID, TEXTOID}},
            {"SELECT id::pg_catalog.uuid FROM once.publish_key_2 "
             "WHERE topic OPERATOR(pg_catalog.=) $1 AND dedup_key OPERATOR(pg_catalog.=) $2",
             {TEXTOID, TEXTOID}}};
        plans[generation].execute({values_, 2});
        if (SPI_processed == 0)
            return std::nullopt;
        bool null;
        const Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null);
        EventId id;
        memcpy(id.data(), DatumGetUUIDP(value)->data, id.size());
        return id;
    }

    // False: the key stands there, committed or by this transaction.
    bool insert(int generation) {
        static pg::Plan plans[kGenerations] = {
            {"INSERT INTO once.publish_key_0 (topic, dedup_key, id) VALUES ($1, $2, $3) "
             "ON CONFLICT (topic, dedup_key) DO NOTHING",
             {TEXTOID, TEXTOID, UUIDOID}},
            {"INSERT INTO once.publish_key_1 (topic, dedup_key, id) VALUES ($1, $2, $3) "
             "ON CONFLICT (topic, dedup_key) DO NOTHING",
             {TEXTOID, TEXTOID, UUIDOID}},
            {"INSERT INTO once.publish_key_2 (topic, dedup_key, id) VALUES ($1, $2, $3) "
             "ON CONFLICT (topic, dedup_key) DO NOTHING",
             {TEXTOID, TEXTOID, UUIDOID}}};
        plans[generation].execute(values_);
        return SPI_processed == 1;
    }

    void replace(int generation, const EventId &first) {
        static pg::Plan plans[kGenerations] = {
            {"UPDATE once.publish_key_0 SET id = $3 "
             "WHERE topic OPERATOR(pg_catalog.=) $1 AND dedup_key OPERATOR(pg_catalog.=) $2",
             {TEXTOID, TEXTOID, UUIDOID}},
            {"UPDATE once.publish_key_1 SET id = $3 "
             "WHERE topic OPERATOR(pg_catalog.=) $1 AND dedup_key OPERATOR(pg_catalog.=) $2",
             {TEXTOID, TEXTOID, UUIDOID}},
            {"UPDATE once.publish_key_2 SET id = $3 "
             "WHERE topic OPERATOR(pg_catalog.=) $1 AND dedup_key OPERATOR(pg_catalog.=) $2",
             {TEXTOID, TEXTOID, UUIDOID}}};
        const Datum values[] = {values_[0], values_[1], pg::uuid_of(first)};
        plans[generation].execute(values);
    }

    EventId first_of(int older, int newer) {
        if (const auto first = find(older))
            return *first;
        if (const auto first = find(newer))
            return *first;
        throw pg::Failure{ERRCODE_T_R_SERIALIZATION_FAILURE,
                          "dedup key vanished while it was looked up",
                          {},
                          "Run the transaction again."};
    }

    Datum values_[3];
    const EventId &mine_;
};

} // namespace

EventId claim_publish_key(Datum topic, std::string_view key, const EventId &mine) {
    const pg::OwnerScope owner(pg::relation_oid("once", "memory"));
    const pg::Spi spi;
    return Keys(topic, key, mine).claim();
}

} // namespace once
