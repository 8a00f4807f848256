"""Writers: concurrent application transactions with an intent log and per-key versions under row locks.

Each transaction locks rows of `app_state`, counts their version up and publishes that version: the order of the row
locks is known from the payloads themselves, independent of anything that pg_once stores.
"""
import json
import random
import threading
import time

import psycopg2

from .checker import Intent, Row, digest

SCHEMA = """
CREATE TABLE IF NOT EXISTS app_state (topic text, key text, version bigint NOT NULL DEFAULT 0, PRIMARY KEY (topic, key))
"""


class Writers:
    """Threads that write until they have done their number of transactions or are told to stop."""

    def __init__(self, database, topics, *, keys=20, seed=1, long_transactions=False, prepare=None):
        self.database = database
        self.topics = list(topics)
        self.keys = [f"k{number}" for number in range(keys)]
        self.seed = seed
        self.intents = []
        self.errors = []
        self.rolled_back = 0
        self.stopping = threading.Event()
        self.threads = []
        self.long_transactions = long_transactions
        self.prepare = prepare
        database.execute(SCHEMA)
        for topic in self.topics:
            database.execute("INSERT INTO app_state SELECT %s, unnest(%s::text[]) ON CONFLICT (topic, key) DO NOTHING",
                             (topic, self.keys))

    def start(self, threads=4, transactions=None, pause=0.0):
        for number in range(threads):
            thread = threading.Thread(target=self._write, args=(number, transactions, pause), daemon=True)
            self.threads.append(thread)
            thread.start()
        return self

    def run(self, threads=4, transactions=100, pause=0.0):
        self.start(threads, transactions, pause).join()
        return self

    def join(self, timeout=300):
        deadline = time.monotonic() + timeout
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                raise TimeoutError("a writer hangs")
        self.threads = []
        if self.errors:
            raise self.errors[0]

    def stop(self):
        self.stopping.set()
        self.join()
        self.stopping.clear()
        return self

    @property
    def committed(self):
        return sum(intent.outcome == "committed" for intent in self.intents)

    def _write(self, number, transactions, pause):
        chance = random.Random(f"{self.seed}/{number}/{len(self.intents)}")
        connection, done = None, 0
        while not self.stopping.is_set() and (transactions is None or done < transactions):
            try:
                if connection is None or connection.closed:
                    connection = self.database.connect(autocommit=False)
                    if self.prepare:
                        self.prepare(connection)
                self._transaction(connection, chance)
                done += 1
            except Exception as error:
                if not _server_is_away(error):
                    self.errors.append(error)
                    return
                time.sleep(0.2)
                connection = None
            if pause:
                time.sleep(chance.random() * pause * 2)
        if connection is not None:
            connection.close()

    def _transaction(self, connection, chance):
        """Keys in sorted order, so that transactions wait for each other and never deadlock."""
        events = []
        with connection.cursor() as cursor:
            if chance.random() < 0.3:
                cursor.execute("SELECT pg_current_xact_id()")
                time.sleep(chance.random() * 0.005)
            for topic, key in sorted((chance.choice(self.topics), chance.choice(self.keys))
                                     for _ in range(chance.choice([1, 1, 2, 3, 5]))):
                if chance.random() < 0.2:
                    self._savepoint(cursor, chance, topic, key, events)
                else:
                    events.append(self.publish(cursor, topic, key))
            if self.long_transactions and chance.random() < 0.03:
                time.sleep(chance.random() * 0.5)
            self._finish(connection, chance.random() < 0.12, events)

    def _savepoint(self, cursor, chance, topic, key, events):
        cursor.execute("SAVEPOINT s")
        event = self.publish(cursor, topic, key)
        if chance.random() < 0.5:
            cursor.execute("ROLLBACK TO SAVEPOINT s")
            self._record([event], "rolled back")
        else:
            cursor.execute("RELEASE SAVEPOINT s")
            events.append(event)

    def publish(self, cursor, topic, key):
        """Locks and counts up the key's row, publishes its version; (id, topic, key, payload, version)."""
        cursor.execute("UPDATE app_state SET version = version + 1 WHERE topic = %s AND key = %s RETURNING version",
                       (topic, key))
        version = cursor.fetchone()[0]
        payload = json.dumps({"key": key, "version": version, "text": "x" * 100})
        cursor.execute("SELECT once.publish_text(%s, %s::text, key => %s)", (topic, payload, key))
        return cursor.fetchone()[0], topic, key, payload, version

    def _finish(self, connection, roll_back, events):
        if roll_back:
            connection.rollback()
            self._record(events, "rolled back")
            return
        try:
            connection.commit()
            self._record(events, "committed")
        except psycopg2.Error:
            self._record(events, "unknown")
            raise

    def _record(self, events, outcome):
        self.rolled_back += outcome == "rolled back"
        for identity, topic, key, payload, version in events:
            self.intents.append(Intent(identity, topic, key.encode(), digest(payload.encode()), outcome, version,
                                       headers=()))


def _server_is_away(error):
    """The fault of some test, and no mistake. An error without a SQLSTATE does not come from the server: libpq has lost
    it, and psycopg2 does not always see that the connection is closed."""
    return isinstance(error, psycopg2.OperationalError) or (isinstance(error, psycopg2.Error) and error.pgcode is None)


def rows(database):
    """The table truth: every event row of every lane."""
    found = []
    for (lane,) in database.query("SELECT lane FROM once.lane ORDER BY lane"):
        found += [Row(lane, seq, int(xid), identity, topic, None if key is None else bytes(key), payload, partition)
                  for seq, xid, identity, topic, key, payload, partition in database.query(
                      f"SELECT seq, xid::text, id::text, topic, key, encode(sha256(payload), 'hex'), partition "
                      f"FROM once.event_{int(lane)}")]
    return found
