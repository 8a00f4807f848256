"""D7: random schedules of accept over handovers against a model that knows who committed what.

A schedule has three sessions that accept a few ids under random isolation levels, with savepoints, rollbacks and
prepared transactions, while handovers begin and sweeps go on. Afterwards an id has at most one committed `new`,
and is a duplicate exactly if it has one. A schedule is made from SEED and its number, so it can be run again:
SCHEDULES=1 FIRST=417 pytest -k D7.
"""
import os
import random
import select
import time

import pytest
import psycopg2
import psycopg2.extensions as pg

SEED = int(os.environ.get("SEED", "4711"))
FIRST = int(os.environ.get("FIRST", "0"))
SCHEDULES = int(os.environ.get("SCHEDULES", "1000"))
SESSIONS, KEYS, STEPS = 3, 3, 70
LEVELS = ["READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]


class Session:
    """An asynchronous connection: a statement that waits for another session does not stop the schedule."""

    def __init__(self, dsn):
        self.connection = psycopg2.connect(dsn, async_=True)
        while self.connection.poll() != pg.POLL_OK:
            select.select([self.connection], [], [], 1)
        self.cursor = self.connection.cursor()
        self.running = None  # what to do with the result
        self.send("SET deadlock_timeout = '5ms'")
        self.wait(10)
        self.reset()

    def reset(self):
        self.open = False
        self.failed = False
        self.news = [[]]  # ids told `new`, one list for the transaction and one for each savepoint

    def send(self, statement, then=lambda rows: None):
        self.cursor.execute(statement)
        self.running = then

    def wait(self, seconds):
        """True when nothing is running any more; an error means the transaction is lost."""
        end = time.monotonic() + seconds
        while self.running:
            try:
                state = self.connection.poll()
                if state == pg.POLL_OK:
                    then, self.running = self.running, None
                    then(self.cursor.fetchall() if self.cursor.description else None)
                    break
            except psycopg2.Error as error:
                assert error.pgcode in ("40001", "40P01"), error
                self.running = None
                self.failed = True
                break
            left = end - time.monotonic()
            if left <= 0:
                return False
            select.select([self.connection], [], [], left)
        return True

    def told(self, keys):
        def remember(rows):
            for key, (verdict,) in zip(keys, rows):
                if verdict == "new":
                    self.news[-1].append(key)
        return remember


class Schedule:
    def __init__(self, sessions, sweeper, number):
        self.random = random.Random(f"{SEED}/{number}")
        self.sessions = sessions
        self.sweeper = sweeper
        self.consumer = f"d7_{number}"
        self.number = number
        self.prepared = {}  # gid → its news
        self.committed = []
        self.count = 0
        sweeper.execute("SELECT once.consumer_set(%s, 'bigint')", (self.consumer,))

    def run(self):
        for _ in range(STEPS):
            self.step()
        self.finish()
        self.check()

    def step(self):
        kind = self.random.random()
        if kind < 0.06:
            self.sweeper.execute("SELECT once.generation_turn(%s)", (self.consumer,))
        elif kind < 0.27:
            self.sweeper.execute("SELECT FROM once.sweep(%s)", (self.consumer,))
        elif kind < 0.38 and self.prepared:
            self.settle_prepared()
        else:
            session = self.random.choice(self.sessions)
            draw = self.random.random()  # drawn always: what blocks must not shift the rest of the schedule
            level = self.random.choice(LEVELS)
            # 40: a batch that is written in runs, with every id many times
            keys = [self.random.randrange(KEYS) for _ in range(self.random.choice([1, 1, 2, 3, 40]))]
            if session.wait(0):
                self.act(session, draw, level, keys)

    def act(self, session, draw, level, keys):
        if session.failed:
            self.roll_back(session)
        elif not session.open:
            session.send(f"BEGIN ISOLATION LEVEL {level}")
            session.open = True
            session.wait(1)
            if draw < 0.3:  # a snapshot that is older than what follows
                session.send("SELECT count(*) FROM once.generation")
        elif draw < 0.48:
            self.accept(session, keys)
        elif draw < 0.56:
            session.send("SAVEPOINT s")
            session.news.append([])
        elif draw < 0.62 and len(session.news) > 1:
            session.send("ROLLBACK TO s")
            session.news[-1] = []
        elif draw < 0.90:
            news = sum(session.news, [])
            session.send("COMMIT", lambda _: self.committed.extend(news))
            session.wait(1)
            self.ended(session)
        elif draw < 0.94:
            self.prepare(session)
        else:
            self.roll_back(session)
        session.wait(0.002)

    def accept(self, session, keys):
        if len(keys) == 1:
            session.send(f"SELECT once.accept('{self.consumer}', {keys[0]})", session.told(keys))
        else:
            session.send(f"SELECT verdict FROM once.accept_many('{self.consumer}', ARRAY{keys}::bigint[]) ORDER BY ordinal",
                         session.told(keys))

    def prepare(self, session):
        self.count += 1
        gid, news = f"{self.consumer}_{self.count}", sum(session.news, [])
        session.send(f"PREPARE TRANSACTION '{gid}'", lambda _: self.prepared.update({gid: news}))
        session.wait(1)
        self.ended(session)

    def ended(self, session):
        """A COMMIT that failed (SERIALIZABLE) has rolled back."""
        assert not session.running, "the end of a transaction waits for nobody"
        session.reset()

    def roll_back(self, session):
        session.send("ROLLBACK")
        session.wait(1)
        session.reset()

    def settle_prepared(self):
        gid = self.random.choice(sorted(self.prepared))
        news = self.prepared.pop(gid)
        if self.random.random() < 0.6:
            self.sweeper.execute(f"COMMIT PREPARED '{gid}'")
            self.committed.extend(news)
        else:
            self.sweeper.execute(f"ROLLBACK PREPARED '{gid}'")

    def finish(self):
        end = time.monotonic() + 20
        while self.prepared or any(session.open for session in self.sessions):
            assert time.monotonic() < end, f"schedule {self.number} does not end"
            if self.prepared:
                self.settle_prepared()
            for session in self.sessions:
                if session.open and session.wait(0.001):
                    self.act(session, 0.8, None, None)

    def check(self):
        for key in range(KEYS):
            news = self.committed.count(key)
            assert news <= 1, f"schedule {self.number} of seed {SEED}: id {key} was new {news} times"
            self.sweeper.execute("SELECT once.accept(%s, %s)", (self.consumer, key))
            verdict = self.sweeper.fetchone()[0]
            assert verdict == ("duplicate" if news else "new"), \
                f"schedule {self.number} of seed {SEED}: id {key} has {news} committed new and is {verdict}"


@pytest.mark.long
def test_D7_random_schedules_never_accept_an_id_twice(cluster):
    cluster.create_database("d7")
    sessions = [Session(cluster.dsn("d7")) for _ in range(SESSIONS)]
    steps = {}
    with cluster.session("d7") as sweeper:
        for number in range(FIRST, FIRST + SCHEDULES):
            Schedule(sessions, sweeper, number).run()
        sweeper.execute("SELECT state, count(*) FROM once.generation WHERE state <> 'free' GROUP BY 1")
        steps = dict(sweeper.fetchall())
    for session in sessions:
        session.connection.close()
    cluster.execute("DROP DATABASE d7 WITH (FORCE)")
    assert SCHEDULES < 100 or steps.get("read_only", 0) > SCHEDULES / 4, f"handovers did not finish: {steps}"
