// The floor for `latency`: a bare loop on a plain table with nothing but difference, produce,
// position record, commit, and the same number of producers as the relay. No lock, no recovery, no
// checks: it is no relay.
#include "kafka_bench.hpp"

#include <libpq-fe.h>

#include <future>
#include <memory>
#include <thread>

using namespace bench;

namespace {

using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

Result query(PGconn *database, const std::string &statement) {
    Result result(PQexec(database, statement.c_str()), PQclear);
    if (PQresultStatus(result.get()) != PGRES_TUPLES_OK &&
        PQresultStatus(result.get()) != PGRES_COMMAND_OK)
        die(PQerrorMessage(database));
    return result;
}

std::string difference(const std::string &table, const std::string &before,
                       const std::string &now) {
    return "select key, payload from " + table + " where (xid >= pg_snapshot_xmax('" + before +
           "') and xid < pg_snapshot_xmax('" + now +
           "') or xid = any(array(select pg_snapshot_xip('" + before +
           "')))) and pg_visible_in_snapshot(xid, '" + now +
           "') and not pg_visible_in_snapshot(xid, '" + before + "') order by seq";
}

struct Floor {
    PGconn *database;
    std::string table, topic;
    std::vector<rd_kafka_t *> ring;
    long turn = 0;
    std::future<void> committing{};

    void ship(PGresult *rows, const std::string &position) {
        rd_kafka_t *producer = ring[static_cast<size_t>(turn++) % ring.size()];
        if (ring.size() == 1 && committing.valid())
            committing.get();
        check(rd_kafka_begin_transaction(producer), "begin");
        for (int row = 0; row < PQntuples(rows); row++)
            produce(producer, topic.c_str(), PQgetvalue(rows, row, 0), PQgetvalue(rows, row, 1),
                    {{"trace", "0af7651916cd43dd"}, {"tenant", "tenant-1"}, {"type", "created"}});
        produce(producer, "floor.positions", "p", position, {});
        if (rd_kafka_flush(producer, 60000))
            die("flush timed out");
        if (committing.valid())
            committing.get();
        committing = std::async(std::launch::async, [producer] {
            check(rd_kafka_commit_transaction(producer, 60000), "commit");
        });
    }
};

} // namespace

int main(int argc, char **argv) {
    Arguments arguments(argc, argv);
    Floor floor{PQconnectdb(arguments.text("database").c_str()),
                arguments.text("table"),
                arguments.text("topic"),
                {}};
    if (PQstatus(floor.database) != CONNECTION_OK)
        die(PQerrorMessage(floor.database));
    for (long i = 0; i < arguments.number("ring", 1); i++)
        floor.ring.push_back(
            transactional_producer(arguments.text("brokers"), "floor-" + std::to_string(i)));
    query(floor.database, "set enable_seqscan = off");
    std::string before =
        PQgetvalue(query(floor.database, "select pg_current_snapshot()").get(), 0, 0);
    const double end = now_seconds() + static_cast<double>(arguments.number("seconds", 30));
    while (now_seconds() < end) {
        const std::string now =
            PQgetvalue(query(floor.database, "select pg_current_snapshot()").get(), 0, 0);
        Result rows = query(floor.database, difference(floor.table, before, now));
        if (PQntuples(rows.get()) > 0)
            floor.ship(rows.get(), now);
        else
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        before = now;
    }
    if (floor.committing.valid())
        floor.committing.get();
    PQfinish(floor.database);
    for (rd_kafka_t *producer : floor.ring)
        rd_kafka_destroy(producer);
    return 0;
}
