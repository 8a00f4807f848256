"""What is published arrives: once, in order, byte for byte, whatever the transactions look like."""
import json
import os
import random
import threading
import time

import pytest
from support import checker
from support.checker import Intent, digest
from support.postgres import reindexing
from support.process import RELAY_MB, most_memory, wait_until

LOCK_SCHEDULES = int(os.environ.get("LOCK_SCHEDULES", "1000"))  # 100,000 in the long run
BIG_TRANSACTION = int(os.environ.get("BIG_TRANSACTION", "200000"))  # 5,000,000 in the long run


def header(message, name):
    return checker.header(message, name)


def test_P1_commit_ships_once_and_rollback_never(world):
    topic = next(iter(world.topics))
    with world.database.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT once.publish_text(%s, 'kept'::text)::text", (topic,))
        kept = cursor.fetchone()[0]
        cursor.execute("SAVEPOINT s; SELECT once.publish_text(%s, 'savepoint'::text); ROLLBACK TO SAVEPOINT s", (topic,))
        connection.commit()
        cursor.execute("SELECT once.publish_text(%s, 'rolled back'::text)", (topic,))
        connection.rollback()
    world.relay().drain()
    messages = world.messages()
    assert [(header(m, "once-id"), m.value) for m in messages] == [(kept, b"kept")]
    assert header(messages[0], "once-source") == f"{world.incarnation()}/0"
    assert header(messages[0], "once-position") == "1"
    world.relay().drain()
    assert len(world.messages()) == 1
    world.assert_exact()


def test_P1_concurrent_writers_under_a_running_relay(world):
    relay = world.relay().start()
    work = world.writers(seed=11).run(threads=4, transactions=60)
    assert any(intent.outcome == "rolled back" for intent in work.intents)
    assert relay.stop() == 0
    world.relay().drain()
    report = world.assert_exact()
    assert report.delivered == work.committed


class Schedule:
    """A few transactions on two keys with randomly interleaved steps: early xid, lock, publish, savepoint, end."""

    def __init__(self, world, number, topic):
        self.chance = random.Random(number)
        self.world = world
        self.topic = topic
        self.keys = [f"{number}a", f"{number}b"]
        self.intents = []
        self.threads = []

    def run(self, connections):
        with connections[0].cursor() as cursor:
            cursor.execute("INSERT INTO app_state SELECT %s, unnest(%s::text[])", (self.topic, self.keys))
            connections[0].commit()
        for number, connection in enumerate(connections):
            thread = threading.Thread(target=self.transaction, args=(connection, random.Random(self.chance.random())))
            self.threads.append(thread)
            thread.start()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()
        return self.intents

    def transaction(self, connection, chance):
        events = []
        with connection.cursor() as cursor:
            if chance.random() < 0.5:
                cursor.execute("SELECT pg_current_xact_id()")
            time.sleep(chance.random() * 0.004)
            for key in self.keys[:chance.randint(1, 2)]:
                savepoint = chance.random() < 0.4
                if savepoint:
                    cursor.execute("SAVEPOINT s")
                events.append(self.world.work.publish(cursor, self.topic, key))
                if savepoint and chance.random() < 0.5:
                    cursor.execute("ROLLBACK TO SAVEPOINT s")
                    self.record([events.pop()], "rolled back")
                time.sleep(chance.random() * 0.004)
        committed = chance.random() < 0.8
        (connection.commit if committed else connection.rollback)()
        self.record(events, "committed" if committed else "rolled back")

    def record(self, events, outcome):
        for identity, topic, key, payload, version in events:
            self.intents.append(Intent(identity, topic, key.encode(), digest(payload.encode()), outcome, version))


def test_P2_order_per_key_is_the_order_of_row_locks(world):
    """Random schedules in parallel lanes of connections, a long transaction beside, the relay shipping."""
    world.writers()
    world.database.execute("UPDATE once.lane SET generation_rows = 10000000")  # nothing is trimmed before it is checked
    topic = next(iter(world.topics))
    beside = world.database.connect(autocommit=False)
    beside.cursor().execute("SELECT pg_current_xact_id()")
    relay = world.relay().start()
    failures = []

    def schedules(first, count):
        connections = [world.database.connect(autocommit=False) for _ in range(3)]
        try:
            for number in range(first, first + count):
                world.work.intents.extend(Schedule(world, number, topic).run(connections))
        except Exception as error:
            failures.append(error)

    each = LOCK_SCHEDULES // 4
    lanes = [threading.Thread(target=schedules, args=(lane * each, each)) for lane in range(4)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    assert not failures, failures
    assert relay.alive()
    wait_until("all is shipped while the long transaction is open",
               lambda: (relay.metric("once_outbox_events_total") or 0) >= world.work.committed, 30, 0.2)
    beside.rollback()
    assert relay.stop() == 0
    world.relay().drain()
    report = world.assert_exact()
    assert report.published > 1.5 * LOCK_SCHEDULES


def test_P15_long_transactions_elsewhere_do_not_hold_delivery(world, cluster):
    """Only trimming waits: the prepared one holds the table that it published into."""
    topic = next(iter(world.topics))
    drained = lambda: (world.remember(), world.relay().drain(timeout=20))
    first_table = lambda: world.database.value("SELECT pg_relation_size('once.event_0_0')")
    with world.database.connect(autocommit=False) as here, cluster.connect(autocommit=False) as other_database:
        here.cursor().execute("SELECT pg_current_xact_id()")
        other_database.cursor().execute("SELECT pg_current_xact_id()")
        with world.database.connect(autocommit=False) as prepared:
            prepared.cursor().execute("SELECT once.publish_text(%s, 'prepared'::text)", (topic,))
            prepared.cursor().execute("PREPARE TRANSACTION 'p15'")
        for number in range(5):
            world.publish(topic, f"event {number}", key="k")
            started = time.monotonic()
            drained()
            assert time.monotonic() - started < 15
            assert len(world.messages()) == number + 1
            if number == 0:
                world.database.execute("SELECT once.rotate()")
        assert first_table() > 0, "trimmed under a transaction that published there"
        assert "p15" in world.database.value("SELECT trim_blockers::text FROM once.status()")
        here.rollback()
        other_database.rollback()
    world.database.execute("COMMIT PREPARED 'p15'")
    drained()
    world.publish(topic, "last", key="k")
    drained()
    assert first_table() == 0, "nothing holds it any more"
    assert b"prepared" in [message.value for message in world.messages()]
    assert world.assert_exact().delivered == 7


def test_P16_one_big_transaction_has_bounded_memory_and_resumes_inside(world):
    count = BIG_TRANSACTION
    topic = next(iter(world.topics))
    world.publish_bulk(topic, count)
    world.remember()  # of 5 M the first tables are trimmed before the end
    relay = world.relay(env={"ONCE_OUTBOX_SLICE_ROWS": "10000", "ONCE_OUTBOX_MAX_ROWS": "10000"})
    relay.start("--until-empty")
    wait_until("the middle of it", lambda: (relay.metric("once_outbox_events_total") or 0) >= 40_000, 60, 0.02)
    relay.kill()
    before = [checker.parse_position(record) for record in world.positions()]
    middle = [p for p in before if p][-1]
    assert 0 < middle.counter < count and middle.slice_seq is not None, "killed inside the transaction"
    relay.start()
    wait_until("the rest of it", lambda: relay.metric("once_outbox_position") == count, 120 + count / 10_000, 0.1)
    memory = most_memory(relay.process.pid)
    assert relay.stop() == 0
    after = [p for p in map(checker.parse_position, world.positions()) if p and p.offset > middle.offset]
    assert after[0].slice_seq is None or after[0].slice_seq > middle.slice_seq
    assert memory < RELAY_MB, f"{memory:.0f} MB resident"
    assert world.assert_exact().delivered == count


def test_P19_bytes_arrive_as_they_were_published(world):
    topic = next(iter(world.topics))
    big = random.Random(19).randbytes(900_000)
    cases = [(b"\x00\x01\xff binary \x80", "k", None), (b"", "", None), (None, "tombstone", None), (b"x", None, None),
             (big, "big", None), ("grüße 中文 \U0001f600".encode(), "ключ", {"héader": "wörld \U0001f600", "empty": ""})]
    wanted = []
    for payload, key, headers in cases:
        with world.database.session() as cursor:
            cursor.execute("SELECT once.publish_bytes(%s, %s::bytea, key => %s, headers => %s::jsonb)::text",
                           (topic, payload, key, None if headers is None else json.dumps(headers)))
            identity = cursor.fetchone()[0]
        own = tuple((name, value.encode()) for name, value in (headers or {}).items())
        wanted.append((identity, None if key is None else key.encode(), payload, own))
    wide = world.topic("wide", 1, max_message_bytes=2_000_000)
    world.database.execute("SELECT once.topic_set(%s, 1500000)", (wide,))
    mega = random.Random(20).randbytes(1 << 20)
    wanted.append((world.publish(wide, mega, "k"), b"k", mega, ()))
    partition = world.publish(topic, b"there", "k", partition=3)
    world.relay().drain()
    found = {header(m, "once-id"): m for m in world.messages()}
    for identity, key, payload, own in wanted:
        message = found[identity]
        assert (message.key, message.value) == (key, payload)
        assert sorted(h for h in message.headers if not h[0].startswith("once-")) == sorted(own)
    assert found[partition].partition == 3
    published = world.database.query("SELECT id::text, (extract(epoch FROM time) * 1000)::bigint FROM once.event_0")
    assert len(published) == len(wanted) + 1 == len(found)
    assert all(abs(found[identity].timestamp - ms) <= 1 for identity, ms in published)
    world.assert_exact()


def test_P27_rotate_races_publishers(world):
    world.database.execute("UPDATE once.lane SET generation_rows = 1000")
    relay = world.relay(env={"ONCE_OUTBOX_REPORT_MS": "60000"}).start()  # no report, so nothing is trimmed
    work = world.writers(seed=27).start(threads=4)
    for _ in range(15):
        world.database.execute("SELECT once.rotate()")
        time.sleep(0.1)  # publishers go on between two rotations
    work.stop()
    world.remember()
    assert relay.stop() == 0
    world.relay().drain()
    report = world.assert_exact()
    assert len(world.rows) == report.published, "no seq twice"
    assert report.published == work.committed > 100


def test_P1_what_is_published_while_its_indexes_are_made_again_ships(world):
    """REINDEX CONCURRENTLY relies on everybody who writes to write the new index too: whoever leaves it out has published
    what the relay will never find. Also by sessions that know the old indexes, and beside writers that never pause."""
    topic = next(iter(world.topics))
    world.database.execute("CREATE EXTENSION amcheck")
    relay = world.relay().start()
    work = world.writers(seed=31).start(threads=3)
    with world.database.session() as known:
        known.execute("SELECT once.publish_text(%s, 'before'::text)", (topic,))
        with reindexing(world.cluster, world.database.name, "once.event_0_0"):
            known.execute("SELECT once.publish_text(%s, 'meanwhile'::text)", (topic,))
            known.execute("SELECT once.publish_many(%s, ARRAY['{}', '{}']::jsonb[], ARRAY['a', 'b'])", (topic,))
        for _ in range(5):
            world.database.execute("REINDEX TABLE CONCURRENTLY once.event_0_0")
        known.execute("SELECT once.publish_text(%s, 'after'::text)", (topic,))
    work.stop()
    assert world.database.value("SELECT count(bt_index_check(indexrelid, true)) FROM pg_index "
                                "WHERE indrelid = 'once.event_0_0'::regclass") == 2
    assert relay.stop() == 0
    world.relay().drain()
    assert world.assert_exact().published == work.committed + 5


@pytest.mark.parametrize("restart", [False, True], ids=["relay_goes_on", "relay_starts_again"])
def test_P2_I1_transaction_that_a_snapshot_does_not_name_is_not_lost(world, restart):
    """A snapshot ends at the last transaction that finished: one that began later and runs is not named in it, but may
    have drawn its number before. Behind a backlog, which is read from a number on, its event must not be overlooked."""
    topic = next(iter(world.topics))
    relay = world.relay(env={"ONCE_OUTBOX_MAX_ROWS": "40"}).start()
    relay.wait_state("running")
    early, late = (world.database.connect(autocommit=False) for _ in range(2))
    with early.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()")
    with late.cursor() as cursor:
        cursor.execute("SELECT once.publish_text(%s, 'runs'::text, key => 'k')", (topic,))
    with early.cursor() as cursor:
        cursor.execute("SELECT once.publish_text(%s, 'finished'::text, key => 'early')", (topic,))
    early.commit()
    wait_until("the first is shipped", lambda: len(world.messages(topic)) == 1, 20, 0.1)
    relay.kill() if restart else relay.process.pause()
    late.commit()
    world.publish_bulk(topic, 200)
    if not restart:
        relay.process.resume()
        wait_until("all is shipped", lambda: relay.metric("once_outbox_backlog_events") == 0, 20, 0.1)
        assert relay.stop() == 0
    world.relay(env={"ONCE_OUTBOX_MAX_ROWS": "40"}).drain()
    assert world.assert_exact().delivered == 202
