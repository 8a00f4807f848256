"""Cost of receiving: once.accept, accept_many and accept_positions beside what a person would write by hand.

accept beside a plain INSERT … ON CONFLICT DO NOTHING into one table of (owner, id), 1 and 16 clients, of one and of 100,000 consumers, and
with two full generations beside the open one; accept_many of 1,000 beside INSERT … SELECT … ON CONFLICT DO NOTHING; a transaction of 500 positions beside one of 500 keys, by hand and by accept_many
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
SELECT once.sweep();
ALTER TABLE once.seen_week_0 SET (autovacuum_enabled = off);
CREATE TABLE hand (owner bigint, id uuid, PRIMARY KEY (owner, id)) WITH (autovacuum_enabled = off);
CREATE TABLE hand_old (LIKE hand INCLUDING ALL) WITH (autovacuum_enabled = off);
CREATE TABLE hand_older (LIKE hand INCLUDING ALL) WITH (autovacuum_enabled = off);
CREATE TABLE keys (id bigint PRIMARY KEY);
CREATE TABLE effect (id bigint);
"""
# Two generations that are full and read only, as they stand beside the open one most of the time.
FULL = """
INSERT INTO once.seen_week_2 SELECT once.owner_of('consumer', 'b'), gen_random_uuid() FROM generate_series(1, 1000000);
INSERT INTO once.seen_week_3 SELECT once.owner_of('consumer', 'b'), gen_random_uuid() FROM generate_series(1, 1000000);
UPDATE once.ring SET oldest = open - 2, gone = open - 2, closed_at = array_fill(clock_timestamp(), '{4}'), closed_for = array_fill(interval '0', '{4}')
    WHERE name = 'seen_week';
INSERT INTO hand_old SELECT * FROM once.seen_week_2;
INSERT INTO hand_older SELECT * FROM once.seen_week_3;
ANALYZE once.seen_week_2, once.seen_week_3, hand_old, hand_older;
"""
OWNER = "\\set n random(1, 100000)\n"
ACCEPT = "SELECT once.accept('b', gen_random_uuid());\n"
PLAIN = "INSERT INTO hand VALUES (1, gen_random_uuid()) ON CONFLICT (owner, id) DO NOTHING;\n"
PLAIN_LOOKS = ("INSERT INTO hand SELECT 1, n FROM gen_random_uuid() n WHERE NOT EXISTS (SELECT FROM hand_old WHERE owner = 1 AND id = n) "
               "AND NOT EXISTS (SELECT FROM hand_older WHERE owner = 1 AND id = n) ON CONFLICT (owner, id) DO NOTHING;\n")
ACCEPT_OWNERS = OWNER + "SELECT once.accept('tenant ' || :n, gen_random_uuid());\n"
PLAIN_OWNERS = OWNER + "INSERT INTO hand VALUES (hashtextextended('tenant ' || :n, 0), gen_random_uuid()) ON CONFLICT (owner, id) DO NOTHING;\n"
ID_BATCH = "\\set id random(1, 900000000000000000)\n"
IDS = "(SELECT array_agg(:id::bigint + i * 7919) FROM generate_series(1, {}) i)"
MANY = ID_BATCH + f"SELECT count(*) FROM once.accept_many_bigint('b', {IDS.format(1000)});\n"
MANY_PLAIN = ID_BATCH + ("WITH new AS (INSERT INTO keys SELECT id FROM unnest(" + IDS.format(1000) +
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
            database.execute("TRUNCATE once.seen_week_0, hand, keys")
            rates[script].append(pgbench(database, script, clients=clients, seconds=seconds))
    return statistics.median(rates[ours]), statistics.median(rates[plain])


def bench(report):
    rounds, seconds = scale("BENCH_ROUNDS", 7), scale("BENCH_SECONDS", 2)
    with cluster() as server:
        database = server.create_database("accept")
        database.execute(SETUP)
        for clients in (1, 16):
            for what, mine, by_hand, line in (("accept", ACCEPT, PLAIN, "<= 1.1 x"),
                                              ("accept over 100,000 consumers", ACCEPT_OWNERS, PLAIN_OWNERS, "<= 1.1 x")):
                ours, plain = in_turn(database, mine, by_hand, clients, rounds, seconds)
                report.add("accept", f"{what}, {clients} clients: its cost beside INSERT … ON CONFLICT", ours, "tx/s", plain / ours, line, plain=plain)
        ours, plain = in_turn(database, MANY, MANY_PLAIN, 1, rounds, seconds)
        report.add("accept", "accept_many of 1,000: its cost beside INSERT … SELECT", ours * 1000, "ids/s", plain / ours,
                   "<= 1.25 x", plain=plain * 1000)
        for keys, what, line in ((KEYS_500_PLAIN, "500 keys by INSERT … SELECT", ">= 3 x"), (KEYS_500, "accept_many of 500", None)):
            ours, plain = in_turn(database, POSITIONS_500, keys, 1, rounds, seconds)
            report.add("accept", f"500 positions a transaction beside {what}", ours * 500, "ids/s", ours / plain, line,
                       plain=plain * 500)
        beside_redis(report, database, rounds, seconds)
        database.execute(FULL)
        for clients in (1, 16):
            ours, plain = in_turn(database, ACCEPT, PLAIN_LOOKS, clients, rounds, seconds)
            report.add("accept", f"accept beside two full generations, {clients} clients: its cost beside the same by hand", ours, "tx/s",
                       plain / ours, "<= 1.1 x", plain=plain)


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
