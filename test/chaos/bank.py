"""Writers with accounts: money moves between keys and is never made, and each key counts its versions.

The truth is kept by the application itself, in a table of its own and in the same transactions: what was published
(`app_truth`), so that trimming hides nothing from the checker.
"""
import json
import random
import threading
import time

import psycopg2
from support.checker import Intent, Row, digest
from support.writers import Writers

SCHEMA = """
ALTER TABLE app_state ADD COLUMN balance bigint NOT NULL DEFAULT 0;
CREATE TABLE app_truth (lane int, seq bigint, xid xid8, id uuid, topic text, key text, digest text);
"""
TOO_LARGE = 9000  # bytes, for a topic that takes 3,000


class Bank(Writers):
    """`keyed`: topics with accounts. `loose`: events without a key. Half of the threads commit asynchronously: only the table knows what became of those."""

    def __init__(self, database, keyed, *, loose, lanes, keys, seed):
        super().__init__(database, keyed, keys=keys, seed=seed)
        database.execute(SCHEMA)
        self.loose = loose
        self.truth = "INSERT INTO app_truth " + " UNION ALL ".join(
            f"SELECT {lane}, seq, xid, id, topic, convert_from(key, 'UTF8'), encode(sha256(payload), 'hex') FROM once.event_{lane} "
            "WHERE xid = pg_current_xact_id()" for lane in range(lanes))
        self.asynchronous = threading.local()
        self.paused = threading.Event()
        self.crowded = threading.Event()  # set: so much waits to be read that a slow machine would never catch up
        self.done = 0  # events that somebody may wait for

    def _write(self, number, transactions, pause):
        self.asynchronous.value = number % 2 == 1
        super()._write(number, transactions, pause)

    def _transaction(self, connection, chance):
        while (self.paused.is_set() or self.crowded.is_set()) and not self.stopping.is_set():
            time.sleep(0.05)
        events = []
        places = [(topic, key) for topic in self.topics for key in self.keys]
        with connection.cursor() as cursor:
            if self.asynchronous.value:
                cursor.execute("SET LOCAL synchronous_commit = off")
            if chance.random() < 0.2:
                cursor.execute("SELECT pg_current_xact_id()")
                time.sleep(chance.random() * 0.01)
            # Sorted over the whole transaction: writers wait for each other and never deadlock.
            chosen = sorted(chance.sample(places, 2 * chance.choice([1, 1, 1, 2, 3])))
            for giver, taker in zip(chosen[::2], chosen[1::2]):
                self._transfer(cursor, chance, giver, taker, events)
            if chance.random() < 0.2:
                events.append(self._loose(cursor, chance))
            if chance.random() < 0.03:
                time.sleep(chance.random() * 0.5)
            cursor.execute(self.truth)
            self._finish(connection, chance.random() < 0.08, events)

    def _transfer(self, cursor, chance, giver, taker, events):
        amount = chance.randint(-50, 50)
        pad = chance.randint(20, 200)
        inside = chance.random() < 0.15
        if inside:
            cursor.execute("SAVEPOINT s")
        pair = [self.publish(cursor, *giver, -amount, 40), self.publish(cursor, *taker, amount, pad)]
        if inside and chance.random() < 0.5:
            cursor.execute("ROLLBACK TO SAVEPOINT s")
            self._record(pair, "rolled back")
        else:
            events += pair

    def publish(self, cursor, topic, key, delta=0, pad=40):
        cursor.execute("UPDATE app_state SET version = version + 1, balance = balance + %s "
                       "WHERE topic = %s AND key = %s RETURNING version, balance", (delta, topic, key))
        version, balance = cursor.fetchone()
        payload = json.dumps({"version": version, "delta": delta, "balance": balance,
                              "text": "x" * pad})
        cursor.execute("SELECT once.publish_text(%s, %s::text, key => %s)", (topic, payload, key))
        return cursor.fetchone()[0], topic, key, payload, version

    def _loose(self, cursor, chance):
        payload = json.dumps({"loose": chance.randint(0, 1 << 30)})
        cursor.execute("SELECT once.publish_text(%s, %s::text)", (self.loose, payload))
        return cursor.fetchone()[0], self.loose, None, payload, None

    def _record(self, events, outcome):
        self.rolled_back += outcome == "rolled back"
        if outcome == "committed":
            self.done += len(events)
            if self.asynchronous.value:
                outcome = "unknown"
        for identity, topic, key, payload, version in events:
            self.intents.append(Intent(identity, topic, None if key is None else key.encode(),
                                       digest(payload.encode()), outcome, version, headers=()))

    def hold(self, cursor, topic, key, count=1, pad=40):
        """Events of a transaction that a fault holds open; the caller ends it and says how it ended."""
        self.asynchronous.value = False
        cursor.execute("INSERT INTO app_state (topic, key) VALUES (%s, %s) ON CONFLICT DO NOTHING", (topic, key))
        events = [self.publish(cursor, topic, key, 0, pad) for _ in range(count)]
        cursor.execute(self.truth)
        return events

    def put(self, topic, count, key="m", pad=40):
        """Events in a transaction of their own."""
        connection = self.database.connect(autocommit=False)
        try:
            with connection.cursor() as cursor:
                events = self.hold(cursor, topic, key, count, pad)
            self.commit(connection, events)
        finally:
            connection.close()

    def commit(self, connection, events):
        try:
            connection.commit()
            self.settle(events, "committed")
        except psycopg2.Error:
            self.settle(events, "unknown")
            raise

    def settle(self, events, outcome):
        self.asynchronous.value = False
        self._record(events, outcome)


def truth(database):
    return [Row(lane, seq, int(xid), identity, topic, None if key is None else key.encode(), payload)
            for lane, seq, xid, identity, topic, key, payload in database.query(
                "SELECT lane, seq, xid::text, id::text, topic, key, digest FROM app_truth")]


def books(effects, accounts):
    """What the receiving database says against what the sending one has: a list of what is wrong.

    `effects`: (topic, key, payload) in the order in which they were applied; `accounts`: {(topic, key): (version,
    balance)} of the sender."""
    wrong, seen = [], {}
    for topic, key, payload in effects:
        value = json.loads(payload)
        if "version" not in value:
            continue
        version, balance = seen.get((topic, key), (0, 0))
        if value["version"] != version + 1 or value["balance"] != balance + value["delta"]:
            wrong.append(f"{topic} {key}: version {value['version']} with balance {value['balance']} applied after "
                         f"version {version} with balance {balance}")
        seen[(topic, key)] = (value["version"], value["balance"])
    for place, account in accounts.items():
        if seen.get(place, (0, 0)) != account:
            wrong.append(f"{place[0]} {place[1]}: the receiver has {seen.get(place)}, the sender {account}")
    if sum(balance for _, balance in accounts.values()):
        wrong.append("money was made at the sender")
    return wrong
