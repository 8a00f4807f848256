"""Cost of receiving: once.accept, accept_many and accept_positions beside what a person would write by hand.

accept beside a plain INSERT … ON CONFLICT DO NOTHING into the same table, 1 and 16 clients; accept_many of 1,000 beside
INSERT … SELECT … ON CONFLICT DO NOTHING; a transaction of 500 positions beside one of 500 keys, by hand and by accept_many
(half of it is the commit); and whether a Redis in front helps: SET NX and then the effect's transaction, beside accept in
the effect's transaction. Measured in turn, many short rounds each; the ratio is of the medians.
"""
import socket
import statistics
import subprocess
import time

from bench.servers import cluster, pgbench, scale
from support.process import free_port, temporary_folder

SETUP = """
SELECT once.consumer_set('b', 'bigint');
ALTER TABLE once.key_1_0 SET (autovacuum_enabled = off);
CREATE TABLE effect (id bigint);
"""
ID = "\\set id random(1, 9000000000000000000)\n"
IDS = "(SELECT array_agg(:id::bigint + i * 7919) FROM generate_series(1, {}) i)"
ACCEPT = ID + "SELECT once.accept('b', :id);\n"
PLAIN = ID + "INSERT INTO once.key_1_0 VALUES (:id) ON CONFLICT (id) DO NOTHING;\n"
ID_BATCH = "\\set id random(1, 900000000000000000)\n"
MANY = ID_BATCH + f"SELECT count(*) FROM once.accept_many('b', {IDS.format(1000)});\n"
MANY_PLAIN = ID_BATCH + ("WITH new AS (INSERT INTO once.key_1_0 SELECT id FROM unnest(" + IDS.format(1000) +
                         ") id ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id) SELECT count(*) FROM new;\n")
KEYS_500 = MANY.replace(IDS.format(1000), IDS.format(500))
KEYS_500_PLAIN = MANY_PLAIN.replace(IDS.format(1000), IDS.format(500))
POSITIONS_500 = ("\\set p random(1, 1000)\nSELECT count(*) FROM once.accept_positions('b', 's', "
                 "(SELECT array_agg(coalesce((SELECT pos FROM once.position WHERE source = 's'), 0) + i) "
                 "FROM generate_series(1, 500) i));\n")


def in_turn(database, ours, plain, clients, rounds, seconds):
    rates = {ours: [], plain: []}
    for turn in range(rounds):
        for script in (ours, plain) if turn % 2 else (plain, ours):
            database.execute("TRUNCATE once.key_1_0")
            rates[script].append(pgbench(database, script, clients=clients, seconds=seconds))
    return statistics.median(rates[ours]), statistics.median(rates[plain])


def bench(report):
    rounds, seconds = scale("BENCH_ROUNDS", 7), scale("BENCH_SECONDS", 2)
    with cluster() as server:
        database = server.create_database("accept")
        database.execute(SETUP)
        for clients in (1, 16):
            ours, plain = in_turn(database, ACCEPT, PLAIN, clients, rounds, seconds)
            report.add("accept", f"accept, {clients} clients: its cost beside a plain INSERT", ours, "tx/s", plain / ours,
                       "<= 1.15 x", plain=plain)
        ours, plain = in_turn(database, MANY, MANY_PLAIN, 1, rounds, seconds)
        report.add("accept", "accept_many of 1,000: its cost beside INSERT … SELECT", ours * 1000, "ids/s", plain / ours,
                   "<= 1.25 x", plain=plain * 1000)
        for keys, what, line in ((KEYS_500_PLAIN, "500 keys by INSERT … SELECT", ">= 3 x"), (KEYS_500, "accept_many of 500", None)):
            ours, plain = in_turn(database, POSITIONS_500, keys, 1, rounds, seconds)
            report.add("accept", f"500 positions a transaction beside {what}", ours * 500, "ids/s", ours / plain, line,
                       plain=plain * 500)
        beside_redis(report, database, rounds, seconds)


class Redis:
    def __init__(self):
        port = free_port()
        self.process = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                                         "--dir", str(temporary_folder("redis"))], stdout=subprocess.DEVNULL)
        for _ in range(100):
            try:
                self.socket = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.05)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def set_nx(self, key):
        words = ["SET", key, "1", "NX", "EX", "604800"]
        self.socket.sendall(f"*{len(words)}\r\n{''.join(f'${len(w)}{chr(13)}{chr(10)}{w}{chr(13)}{chr(10)}' for w in words)}".encode())
        return self.socket.recv(64).startswith(b"+OK")

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait(10)


def beside_redis(report, database, rounds, seconds):
    """One client, so the figures are round trips: messages that are all new, and messages that were all seen."""
    redis = Redis()
    number = 0
    try:
        with database.cluster.session(database.name, autocommit=False) as sql:
            def with_redis(key):
                if redis.set_nx(f"b:{key}"):
                    sql.execute("INSERT INTO effect VALUES (%s)", (key,))
                    sql.connection.commit()

            def with_accept(key):
                sql.execute("SELECT once.accept('b', %s::bigint)", (key,))
                if sql.fetchone()[0] == "new":
                    sql.execute("INSERT INTO effect VALUES (%s)", (key,))
                sql.connection.commit()

            rates = {(way, seen): [] for way in (with_redis, with_accept) for seen in (False, True)}
            for _ in range(rounds):
                for way in (with_redis, with_accept):
                    first, began = number, time.monotonic()
                    while time.monotonic() - began < seconds / 2:
                        number += 1
                        way(number)
                    rates[way, False].append((number - first) / (time.monotonic() - began))
                    began = time.monotonic()
                    for key in range(first + 1, number + 1):
                        way(key)
                    rates[way, True].append((number - first) / (time.monotonic() - began))
    finally:
        redis.close()
    for seen, what in ((False, "new"), (True, "seen before")):
        ours, other = (statistics.median(rates[way, seen]) for way in (with_accept, with_redis))
        report.add("accept", f"accept with the effect beside Redis SET NX, {what}", ours, "msg/s", ours / other, None, redis=other)
    report.note("Redis in front: a crash between SET NX and COMMIT loses the message, a rolled-back effect is never retried")
