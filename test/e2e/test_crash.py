"""The relay, the server and the network die at the worst moment: nothing is lost, doubled or inverted."""
import threading
import time

import psycopg2
import pytest

from support import checker
from support.process import RELAY, wait_until
from support.proxy import END_TXN, PRODUCE, Proxy
from support.relay import KILLED, crash_points

POINTS = [point for point in crash_points() if not point.startswith("inbox_")] if RELAY.exists() else []
SMALL = {"ONCE_OUTBOX_MAX_ROWS": "40", "ONCE_OUTBOX_SLICE_ROWS": "40", "ONCE_OUTBOX_REPORT_MS": "100"}


class EveryStep:
    """A life of a lane in which every step of the relay happens: first start, big difference in slices, an event the
    broker refuses, its neighbours of the key, redrive, a redrive that is refused again, report and trim."""

    def __init__(self, world):
        self.world = world
        world.writers(seed=3, keys=8)
        self.small = world.topic("small", 2, max_message_bytes=3000)
        world.database.execute("UPDATE once.lane SET generation_rows = 500")
        self.relay = world.relay(env=SMALL)
        self.crashed = False

    def steps(self):
        world = self.world
        world.work.run(threads=2, transactions=20)
        world.publish_bulk(self.small, 150, keys=10)
        self.poison = world.publish(self.small, "p" * 9000, key="k3")
        world.publish(self.small, "behind", key="k3")
        yield
        world.database.execute("SELECT once.redrive(%s, 'k3')", (self.small,))  # refused once more
        world.work.run(threads=2, transactions=10)
        yield
        self.repair()
        yield
        for _ in range(3):
            world.database.execute("SELECT once.rotate()")
            world.publish(self.small, "to be trimmed", key="k1")
            yield

    def run(self, point=None, nth=1):
        """With a crash point: until it was passed, and from there everything to its end at once."""
        for _ in self.steps():
            self.world.remember()
            self.crashed = point is not None and self.relay.crash_at(point, nth) == KILLED
            self.world.remember()
            self.relay.drain()
            self.world.remember()
            if self.crashed:
                self.repair()
                self.world.remember()
                self.relay.drain()
                return

    def repair(self):
        self.world.kafka.tools.run("alter_topic", topic=self.small, settings={"max.message.bytes": "100000"})
        self.world.database.execute("SELECT once.redrive_all()")


def test_P3_P32_the_steps_happen_without_a_crash(world):
    life = EveryStep(world)
    life.run()
    ids = {checker.header(m, "once-id") for m in world.messages(life.small)}
    assert life.poison in ids and life.poison in {identity for identity, *_ in world.parked()}
    assert world.database.value("SELECT count(*) FROM once.dead_letter WHERE stamp IS NULL") == 0
    assert len(world.rows) > sum(1 for _ in world.database.query("SELECT 1 FROM once.event_0")), "some were trimmed"
    world.assert_exact()


@pytest.mark.parametrize("point", POINTS)
def test_P3_P32_killed_at_each_crash_point(world, point):
    life = EveryStep(world)
    life.run(point)
    assert life.crashed, f"no step of this test passes {point}: enlarge it"
    world.assert_exact()


@pytest.mark.parametrize("point", [p for p in POINTS if p in ("after_k_messages", "after_position", "in_commit")])
@pytest.mark.parametrize("nth", [3, 5])
def test_P3_killed_later(world, point, nth):
    """Not only in the first transaction: in the middle of slices, with a predecessor's open transaction."""
    life = EveryStep(world)
    life.run(point, nth)
    assert life.crashed
    world.assert_exact()


def test_P3_random_kills_under_load(world):
    live = world.kafka.follow(*world.topics)
    work = world.writers(seed=5, long_transactions=True).start(threads=4, pause=0.005)
    relay = world.relay()
    for kill in range(8):
        relay.start()
        time.sleep(0.3 + 0.35 * (kill % 4))
        relay.kill()
    work.stop()
    relay.drain()
    report = world.check()
    wait_until("the live reader is at the end", lambda: live.count() >= report.delivered, 30, 0.1)
    world.assert_exact(live=[live.stop()])


def test_P10_database_killed(world, cluster):
    work = world.writers(seed=10).start(threads=3, pause=0.005)
    relay = world.relay().start()
    relay.wait_state("running")  # a database that is away at the first connect is an error in the configuration
    for mode in ("immediate", "kill"):
        time.sleep(1)  # under load, wherever that finds it
        cluster.kill() if mode == "kill" else cluster.stop(mode)
        time.sleep(0.5)  # away for as long
        cluster.start()
        before = world.work.committed
        wait_until("writers go on", lambda: work.committed > before + 20, 30, 0.1)
        assert relay.alive(), f"{relay.log()[-2000:]}"
    work.stop()
    wait_until("the relay has shipped all by itself",
               lambda: relay.metric("once_outbox_backlog_events") == 0, 30, 0.2)
    assert relay.stop() == 0
    world.relay().drain()
    world.assert_exact()


def test_P21_no_ghosts_of_asynchronous_commits(world, cluster):
    """Commits that the server forgets when it is killed must not be in Kafka: the cut flushes before it ships."""
    def asynchronous(connection):
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
        connection.commit()

    cluster.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
    cluster.execute("SELECT pg_reload_conf()")
    relay = world.relay()
    try:
        for round_number in range(4):
            relay.start()
            work = world.writers(seed=21 + round_number, prepare=asynchronous).start(threads=3, pause=0.002)
            time.sleep(1.5)  # under load: commits that are not yet flushed
            cluster.kill()
            relay.kill()
            work.stopping.set()
            cluster.start()
            work.join()
            world.work.intents[:] = [forget(intent) for intent in world.work.intents]
    finally:
        cluster.execute("ALTER SYSTEM RESET wal_writer_delay")
        cluster.execute("SELECT pg_reload_conf()")
    relay.drain()
    world.assert_exact()


def forget(intent):
    """The table decides whether an asynchronous commit survived; versions that were lost are given again."""
    return checker.Intent(intent.id, intent.topic, intent.key, intent.digest,
                          "unknown" if intent.outcome == "committed" else intent.outcome, intent.order)


@pytest.mark.parametrize("soon", [True, False], ids=["relay_is_back_first", "writers_are_back_first"])
def test_P10_I1_ids_that_a_crash_gives_again(world, cluster, soon):
    """A savepoint that waits for a row lock has an id and left no trace in WAL: after a crash the id is given again.
    The position must neither take what comes under it for shipped nor the server for another one."""
    topic = next(iter(world.topics))
    world.relay().drain()
    world.database.execute("CREATE TABLE app_row (id int PRIMARY KEY); INSERT INTO app_row VALUES (1)")
    relay = world.relay("--set", "outbox.report_ms=600000").start()  # a report would have an id behind all others
    relay.wait_state("running")
    world.publish(topic, "first", key="k")
    wait_until("it is shipped", lambda: relay.metric("once_outbox_events_total") == 1, 30, 0.05)
    early, holder, waiting = (world.database.connect(autocommit=False) for _ in range(3))
    for connection, statement in ((early, "SELECT pg_current_xact_id()"),
                                  (holder, "SELECT FROM app_row FOR UPDATE"),
                                  (waiting, "SELECT pg_current_xact_id(); SAVEPOINT s")):
        with connection.cursor() as cursor:
            cursor.execute(statement)
    waiter = threading.Thread(target=lambda: pytest.raises(psycopg2.Error, waiting.cursor().execute,
                                                           "UPDATE app_row SET id = 2"))
    waiter.start()
    world.database.wait_for("the savepoint waits", "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
    with early.cursor() as cursor:
        cursor.execute("SELECT once.publish_text(%s, 'before'::text, key => 'k')", (topic,))
    early.commit()
    wait_until("it is shipped", lambda: relay.metric("once_outbox_events_total") == 2, 30, 0.05)
    world.remember()
    relay.kill()
    cluster.kill()
    waiter.join()
    cluster.start()
    if soon:
        world.relay().drain()
    for number in range(4):
        world.publish(topic, f"after {number}", key="k")
    world.relay().drain()
    assert world.assert_exact().delivered == 6


def test_P24_SIGTERM_ends_within_the_deadline(world):
    work = world.writers(seed=24).start(threads=3)
    for _ in range(4):
        relay = world.relay().start()
        wait_until("it ships", lambda: (relay.metric("once_outbox_events_total") or 0) > 50, 30, 0.05)
        started = time.monotonic()
        assert relay.stop(timeout=12) == 0, relay.log()[-2000:]
        assert time.monotonic() - started < 11
    work.stop()
    world.relay().drain()
    world.assert_exact()


@pytest.mark.parametrize("api", [PRODUCE, END_TXN], ids=["open", "committing"])
def test_P24_I10_SIGTERM_while_the_broker_is_silent(world, kafka, api):
    """What cannot be finished within the deadline is dropped, and the next relay ships it. Nothing was reported that was not
    known to be committed; and the request that comes late commits nothing."""
    topic = next(iter(world.topics))
    with Proxy(kafka.nodes[0]) as proxy:
        relay = world.relay("--set", "outbox.stop_ms=2000", "--set", "outbox.report_ms=100", brokers=kafka.proxied).start()
        world.publish(topic, "first", key="k")
        wait_until("it ships", lambda: relay.metric("once_outbox_events_total") == 1, 30, 0.05)
        held = proxy.hold(api, count=1 << 30)
        world.publish(topic, "second", key="k")
        held.wait_caught(10)
        time.sleep(1)  # ten reports
        assert relay.stop(timeout=10) == 0, relay.log()[-2000:]
        world.relay().drain()
        proxy.clear()
        time.sleep(0.5)  # what was held reaches the broker, and must change nothing
    assert world.assert_exact().delivered == 2


def test_P23_trim_waits_for_an_old_publisher(world):
    """A transaction that published into a child before it was passed commits later: its row is not truncated."""
    topic = next(iter(world.topics))
    world.database.execute("UPDATE once.lane SET generation_rows = 100")
    relay = world.relay(env={"ONCE_OUTBOX_REPORT_MS": "100"}).start()
    with world.database.connect(autocommit=False) as old:
        old.cursor().execute("SELECT once.publish_text(%s, 'old'::text, key => 'old')", (topic,))
        for number in range(4):
            world.publish(topic, f"new {number}", key="new")
            world.remember()
            world.database.execute("SELECT once.rotate()")
            time.sleep(0.5)  # five reports, each of which tries to trim
        assert world.database.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == 0
        old.commit()
    world.remember()
    wait_until("the old one is shipped", lambda: len(world.messages(topic)) == 5, 30, 0.3)
    world.publish(topic, "last", key="new")
    wait_until("the children are trimmed",
               lambda: world.database.value("SELECT count(*) FROM once.event_0") <= 2, 30, 0.3)
    assert relay.stop() == 0
    assert world.check().count("lost") == 0
    world.assert_exact()
