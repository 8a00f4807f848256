"""Cost of once.publish, beside a plain INSERT into a table with the same columns and two indexes.

1 and 16 clients, one event a transaction and 100; publish_many beside INSERT … SELECT of 100 rows. The two are measured
in turn, many short rounds each, so that a noisy neighbour or a checkpoint hits both; the ratio is of the medians.
"""
import statistics

from bench.servers import cluster, pgbench, scale

# The columns, the indexes and the way every value is made are the same; only the road into the table differs.
PLAIN = """
CREATE SEQUENCE plain_seq;
CREATE TABLE plain (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(), seq bigint PRIMARY KEY DEFAULT nextval('plain_seq'),
    time timestamptz NOT NULL DEFAULT clock_timestamp(), id uuid NOT NULL DEFAULT gen_random_uuid(), partition int,
    topic text NOT NULL, key text, payload bytea, headers bytea) WITH (autovacuum_enabled = off);
CREATE INDEX ON plain (xid, seq);
"""
PAYLOAD = "x" * 200
KEY = "\\set k random(1, 100000)\n"
PUBLISH = f"SELECT once.publish_text('orders', '{PAYLOAD}', key => :k::text);\n"
INSERT = f"INSERT INTO plain (topic, key, payload) VALUES ('orders', :k::text, '{PAYLOAD}') RETURNING id;\n"
KEYS = "ARRAY(SELECT (:k::int + g)::text FROM generate_series(1, 100) g)"
MANY = f"SELECT once.publish_many_text('orders', array_fill('{PAYLOAD}'::text, ARRAY[100]), {KEYS});\n"
INSERT_MANY = ("INSERT INTO plain (topic, key, payload) SELECT 'orders', k, p FROM unnest("
               f"{KEYS}, array_fill('{PAYLOAD}'::bytea, ARRAY[100])) AS u(k, p);\n")


def transaction(statement, times):
    return KEY + (statement if times == 1 else "BEGIN;\n" + statement * times + "END;\n")


CASES = [  # what, publish, insert, clients, events a transaction
    ("one event a transaction, 1 client", transaction(PUBLISH, 1), transaction(INSERT, 1), 1, 1),
    ("one event a transaction, 16 clients", transaction(PUBLISH, 1), transaction(INSERT, 1), 16, 1),
    ("100 events a transaction, 1 client", transaction(PUBLISH, 100), transaction(INSERT, 100), 1, 100),
    ("100 events a transaction, 16 clients", transaction(PUBLISH, 100), transaction(INSERT, 100), 16, 100),
    ("publish_many of 100, 1 client", transaction(MANY, 1), transaction(INSERT_MANY, 1), 1, 100),
    ("publish_many of 100, 16 clients", transaction(MANY, 1), transaction(INSERT_MANY, 1), 16, 100),
]


def measure(database, ours, plain, clients, rounds, seconds):
    rates = {ours: [], plain: []}
    for turn in range(rounds):
        for script in (ours, plain) if turn % 2 else (plain, ours):
            rates[script].append(pgbench(database, script, clients=clients, seconds=seconds))
        # Both start each round with tables of about the same size.
        database.execute("TRUNCATE plain")
        database.execute("SELECT once.rotate()")
        database.execute("SELECT once.trim(0, pg_current_snapshot())")
    return statistics.median(rates[ours]), statistics.median(rates[plain])


def bench(report):
    rounds, seconds = scale("BENCH_ROUNDS", 7), scale("BENCH_SECONDS", 2)
    with cluster() as server:
        database = server.create_database("publish")
        database.execute(PLAIN)
        for what, ours, plain, clients, events in CASES:
            measured, beside = measure(database, ours, plain, clients, rounds, seconds)
            report.add("publish", what, measured * events, "events/s", measured / beside, "≥ 1",
                       plain=beside * events, clients=clients, events_per_transaction=events)
