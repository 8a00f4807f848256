"""The capture itself, without Kafka: what the difference of two snapshots reads under adversarial writers.

The same history is read in two wrong ways as well: a test that could not see them fail would prove nothing.
"""
import math
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.writers import Writers

# A round, each in a database of its own: random transactions that overlap, with early ids, savepoints, roll-backs and
# shared keys.
WRITERS = 8
TRANSACTIONS = 1040
ROUNDS = max(2, math.ceil(int(os.environ.get("LOCK_SCHEDULES", "0")) / TRANSACTIONS))
AT_ONCE = 4  # they mostly wait for each other's locks


class Reader(threading.Thread):
    """Reads while the writers write, until it is told that they have ended, and once more."""

    def __init__(self, database, seed):
        super().__init__(daemon=True)
        self.database, self.chance = database, random.Random(seed)
        self.ended = threading.Event()
        self.read, self.error, self.batches = [], None, 0

    def run(self):
        try:
            with self.database.connect() as connection:
                connection.autocommit = True
                self.cursor = connection.cursor()
                self.start_reading()
                last = False
                while not last:
                    last = self.ended.is_set()
                    self.batch()
                    self.batches += 1
        except Exception as error:
            self.error = error

    def start_reading(self):
        pass

    def query(self, statement, *parameters):
        self.cursor.execute(statement, parameters)
        return self.cursor.fetchall()

    def rows(self, condition, order, *parameters):
        found = self.query(f"SELECT seq, xid::text::bigint, convert_from(key, 'UTF8'), (convert_from(payload, 'UTF8')::json ->> 'version')::int "
                           f"FROM once.event_0 WHERE {condition} ORDER BY {order}", *parameters)
        self.read += [(key, version) for _, _, key, version in found]
        return found


class Difference(Reader):
    """As the relay does it: narrow or in slices, with waits and trims in between."""

    NARROW = "(xid >= pg_snapshot_xmax(%s) AND xid < pg_snapshot_xmax(%s) OR xid = ANY (ARRAY(SELECT pg_snapshot_xip(%s)))) " \
             "AND pg_visible_in_snapshot(xid, %s)"
    WIDE = "seq > %s AND pg_visible_in_snapshot(xid, %s) AND NOT pg_visible_in_snapshot(xid, %s)"

    def start_reading(self):
        self.before, self.last_seq = "3:3:", None
        self.incarnation = self.query("SELECT incarnation FROM once.lane")[0][0]
        self.query("SET statement_timeout = '60s'")

    def query(self, statement, *parameters):
        self.cursor.execute(statement, parameters)
        return self.cursor.fetchall() if self.cursor.description else []

    def batch(self):
        earlier = self.query("SELECT pg_current_snapshot()::text")[0][0]
        woken = self.query("SELECT once.wait(0, %s, %s)", self.before, self.chance.choice([0, 0, 5]))[0][0]
        now = self.query("SELECT snapshot::text FROM once.cut(0)")[0][0]
        found = self.narrow(now) if self.chance.random() < 0.6 else self.sliced(now)
        assert found or not woken, "once.wait promised work that was not there"
        known = self.query("SELECT count(*) FROM once.event_0 WHERE pg_visible_in_snapshot(xid, %s) "
                           "AND NOT pg_visible_in_snapshot(xid, %s)", earlier, self.before)[0][0]
        assert woken or not known, "once.wait overlooked work"
        if found:
            self.last_seq = found[-1][0]
        self.before = now
        if self.chance.random() < 0.3:
            self.trim()

    def narrow(self, now):
        return self.rows(self.NARROW, "seq", self.before, now, self.before, now)

    def sliced(self, now):
        found, size = [], self.chance.choice([1, 3, 20])
        while True:
            slice_ = self.rows(self.WIDE, f"seq LIMIT {size}", found[-1][0] if found else -1, now, self.before)
            found += slice_
            if len(slice_) < size:
                return found

    def trim(self):
        position = '{"s_now": "%s", "last_seq": %s}' % (self.before, self.last_seq or "null")
        self.query("BEGIN")
        self.query("SELECT once.report(0, %s, 'cluster', %s, 0, '{}')", self.incarnation, position)
        self.query("SELECT once.trim(0, %s)", self.before)
        self.query("COMMIT")


class BelowTheOldest(Reader):
    """`xid < xmin`, in the order of xids: what many outboxes do. Reorders a key."""

    def start_reading(self):
        self.last = 0

    def batch(self):
        found = self.rows("xid < pg_snapshot_xmin(pg_current_snapshot()) AND xid > %s::text::xid8", "xid, seq", self.last)
        if found:
            self.last = found[-1][1]


class BehindTheLast(Reader):
    """`seq > last`: what most polling loops do. Loses the events of slower transactions."""

    def start_reading(self):
        self.last = 0

    def batch(self):
        found = self.rows("seq > %s", "seq", self.last)
        if found:
            self.last = found[-1][0]


def violations(read, intents):
    """Lost, doubled and inverted events by key: versions must come as 1, 2, 3, … up to the last committed."""
    last, wrong = {}, 0
    for key, version in read:
        wrong += version != last.get(key, 0) + 1
        last[key] = version
    committed = {}
    for intent in intents:
        if intent.outcome == "committed":
            key = intent.key.decode()
            committed[key] = max(committed.get(key, 0), intent.order)
    return wrong + sum(last.get(key) != version for key, version in committed.items())


def run(cluster, name, reader_type, seed):
    database = cluster.create_database(name)
    database.execute("SELECT once.set_lanes(1, 3, 200)")
    writers = Writers(database, ["t"], keys=6, seed=seed, long_transactions=True)
    reader = reader_type(database, seed)
    reader.start()
    try:
        writers.run(threads=WRITERS, transactions=TRANSACTIONS // WRITERS)
    finally:
        reader.ended.set()
        reader.join(60)
    if reader.error:
        raise reader.error
    assert not reader.is_alive()
    assert reader.batches > 20, "the reader did not run beside the writers"
    found = violations(reader.read, writers.intents)
    database.drop()
    return found


def test_P2_P23_the_difference_is_exact(cluster, world_name):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rounds = {seed: pool.submit(run, cluster, f"{world_name}_{seed}", Difference, seed) for seed in range(1, ROUNDS + 1)}
    assert {seed: done.result() for seed, done in rounds.items()} == dict.fromkeys(rounds, 0)


@pytest.mark.parametrize("reader", [BelowTheOldest, BehindTheLast])
def test_P2_the_wrong_ways_are_caught(cluster, world_name, reader):
    assert run(cluster, world_name, reader, 1) > 0
