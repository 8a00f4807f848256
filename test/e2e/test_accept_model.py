"""D7: random schedules of accept over the rings against a model that knows who committed what.

A schedule has three sessions that accept a few ids of a few consumers under random isolation levels, with savepoints,
rollbacks and prepared transactions, while consumers change their class or are dropped, inside transactions or not, rings
hand over, sweeps go on and, in one test, the server crashes. Afterwards an id has at most one committed `new`, and is a
duplicate exactly if it has one. A schedule is made from SEED and its number, so it can be run again:
SCHEDULES=1 FIRST=417 pytest -k D7.

What makes it red was tried, with the number of the schedule of seed 4711 that saw it: a session that trusts what it remembers of a
ring or a consumer without looking whether the snapshot shows it (2); a change of class that takes effect at once (2); an accept that
writes the open generation alone (0); a generation that is read only without a barrier (21), or after the first one (321);
consumer_drop that forgets in which rings ids are (273). Not red, in 1,200: consumer_set without FOR SHARE, because the closing
generation takes keys until the transaction of consumer_set, which is older than the handover's barrier, has ended.
"""
import os
import random
import select
import time

import pytest
import psycopg2
import psycopg2.extensions as pg

from support.postgres import Cluster

SEED = int(os.environ.get("SEED", "4711"))
FIRST = int(os.environ.get("FIRST", "0"))
SCHEDULES = int(os.environ.get("SCHEDULES", "1000"))
SESSIONS, KEYS, STEPS = 3, 2, 90
CONSUMERS = ("a", "b")
RINGS = ("seen_week", "seen_week", "seen_day", "seen_month")
KEEPS = ("1 day", "7 days", "7 days", "30 days")
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
                assert error.pgcode in ("40001", "40P01", "55000"), error  # 55000: changed its class too often
                self.running = None
                self.failed = True
                break
            left = end - time.monotonic()
            if left <= 0:
                return False
            select.select([self.connection], [], [], left)
        return True

    def told(self, consumer, keys):
        def remember(rows):
            for key, (verdict,) in zip(keys, rows):
                if verdict == "new":
                    self.news[-1].append((consumer, key))
        return remember


RESET = "TRUNCATE once.ring, once.generation, once.consumer_state, " + ", ".join(
    f"once.seen_{ring}_{slot}" for ring in ("day", "week", "month") for slot in range(4))


class Schedule:
    def __init__(self, sessions, sweeper, number, crash=None):
        self.random = random.Random(f"{SEED}/{number}")
        self.sessions = sessions
        self.sweeper = sweeper
        self.crash = crash
        self.number = number
        self.prepared = {}  # gid → its news
        self.committed = []
        self.count = 0
        self.turns = 0
        sweeper.execute(RESET)
        sweeper.execute("SET lock_timeout = '20ms'")

    def run(self):
        for _ in range(STEPS):
            self.step()
        self.finish()
        self.check()
        return self.turns

    def step(self):
        kind = self.random.random()
        if kind < 0.07:
            self.turns += self.upkeep(f"SELECT once.ring_turn('{self.random.choice(RINGS)}')") is True
        elif kind < 0.25:
            self.upkeep("SELECT ring FROM once.sweep()")
        elif kind < 0.28:
            self.upkeep(self.definition(self.random.choice(CONSUMERS), self.random.random(), self.random.choice(KEEPS)))
        elif kind < 0.38 and self.prepared:
            self.settle_prepared()
        elif kind > 0.99 and self.crash:
            self.crash(self)
        else:
            session = self.random.choice(self.sessions)
            draw = self.random.random()  # drawn always: what blocks must not shift the rest of the schedule
            level = self.random.choice(LEVELS)
            # 40: a batch that is written in runs, with every id many times
            keys = [self.random.randrange(KEYS) for _ in range(self.random.choice([1, 1, 2, 3, 40]))]
            drawn = (self.random.choice(CONSUMERS), self.random.random(), self.random.choice(KEEPS))
            if session.wait(0):
                self.act(session, draw, level, keys, drawn)

    def upkeep(self, statement):
        """What a relay or a person does, in a transaction of its own. One of these may wait for a session."""
        try:
            self.sweeper.execute(statement)
            row = self.sweeper.fetchone()
            return row and row[0]
        except psycopg2.Error as error:
            assert error.pgcode in ("55P03", "55000"), error
            return None

    @staticmethod
    def definition(consumer, draw, keep):
        if draw < 0.2:
            return f"SELECT once.consumer_drop('{consumer}')"
        return f"SELECT once.consumer_set('{consumer}', keep => '{keep}', reject_older => {draw < 0.6})"

    def act(self, session, draw, level, keys, drawn):
        if session.failed:
            self.roll_back(session)
        elif not session.open:
            session.send(f"BEGIN ISOLATION LEVEL {level}")
            session.open = True
            session.wait(1)
            if draw < 0.3:  # a snapshot that is older than what follows
                session.send("SELECT count(*) FROM once.machine")
        elif draw < 0.04:
            session.send(self.definition(*drawn))
        elif draw < 0.48:
            self.accept(session, drawn[0], keys)
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

    def accept(self, session, consumer, keys):
        if len(keys) == 1:
            session.send(f"SELECT once.accept('{consumer}', {keys[0]})", session.told(consumer, keys))
        else:
            session.send(f"SELECT verdict FROM once.accept_many_bigint('{consumer}', ARRAY{keys}) ORDER BY ordinal",
                         session.told(consumer, keys))

    def prepare(self, session):
        self.count += 1
        gid, news = f"d7_{self.number}_{self.count}", sum(session.news, [])
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
                    self.act(session, 0.8, None, None, None)

    def check(self):
        for consumer in CONSUMERS:
            for key in range(KEYS):
                news = self.committed.count((consumer, key))
                assert news <= 1, f"schedule {self.number} of seed {SEED}: id {key} of {consumer} was new {news} times"
                self.sweeper.execute("SELECT once.accept(%s, %s)", (consumer, key))
                verdict = self.sweeper.fetchone()[0]
                assert verdict == ("duplicate" if news else "new"), \
                    f"schedule {self.number} of seed {SEED}: id {key} of {consumer} has {news} committed new and is {verdict}"


@pytest.mark.long
def test_D7_random_schedules_never_accept_an_id_twice(cluster):
    cluster.create_database("d7")
    sessions = [Session(cluster.dsn("d7")) for _ in range(SESSIONS)]
    with cluster.session("d7") as sweeper:
        turns = sum(Schedule(sessions, sweeper, number).run() for number in range(FIRST, FIRST + SCHEDULES))
    for session in sessions:
        session.connection.close()
    cluster.execute("DROP DATABASE d7 WITH (FORCE)")
    assert SCHEDULES < 100 or turns > SCHEDULES, f"only {turns} handovers"


@pytest.mark.long
def test_D7_nor_do_they_when_the_server_crashes():
    """What was committed is there afterwards, prepared transactions too; what was open is gone. The sessions begin with
    empty memories, and xids that nobody has any more stand in the rows of the rings."""
    with Cluster().create().start() as cluster:
        cluster.create_database("d7")
        sessions = []

        def connect():
            sessions[:] = [Session(cluster.dsn("d7")) for _ in range(SESSIONS)]
            return cluster.connect("d7").cursor()

        def crash(schedule):
            cluster.kill()
            for session in sessions:
                session.connection.close()
            cluster.start()
            schedule.sweeper = connect()
            schedule.sweeper.execute("SET lock_timeout = '20ms'")

        sweeper = connect()
        for number in range(FIRST, FIRST + max(1, SCHEDULES // 25)):
            schedule = Schedule(sessions, sweeper, number, crash)
            schedule.run()
            sweeper = schedule.sweeper
