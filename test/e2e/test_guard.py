"""State machines, guards and keys where pgTAP cannot go: many sessions, a dump, a relay."""
import random
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import psycopg2.extras
import pytest

from support.checker import header
from support.process import STAGED_BIN, wait_until

MACHINE = """SELECT once.machine_set('order', 'new', '[{"from": "new", "event": "create", "to": "created"},
    {"from": "created", "event": "pay", "to": "paid"}, {"from": "created", "event": "cancel", "to": "cancelled"}]')"""
PATHS = {("new", "created"), ("created", "paid"), ("created", "cancelled")}


@pytest.fixture
def database(cluster, world_name):
    made = cluster.create_database(world_name)
    yield made
    made.drop()


def run_all(database, count, work):
    """work(index, cursor) in `count` sessions at once; all start together."""
    barrier = threading.Barrier(count)

    def one(index):
        connection = database.connect(user="postgres")
        try:
            barrier.wait()
            return work(index, connection.cursor())
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_H5_races_leave_a_path_of_the_graph(database):
    rounds, sessions = 1000, 6
    database.execute(MACHINE)
    database.execute("SELECT once.machine_history_set('order', true)")

    def race(index, cursor):
        verdicts = []
        for entity in range(rounds):
            event = random.Random(entity * sessions + index).choice(["create", "pay", "cancel"])
            cursor.execute("SELECT verdict FROM once.transition('order', %s, %s, %s)",
                           (str(entity), event, None if index % 2 else f"{event}-{entity}"))
            verdicts.append((entity, cursor.fetchone()[0]))
        return verdicts

    moved = [entity for verdicts in run_all(database, sessions, race) for entity, verdict in verdicts if verdict == "moved"]
    steps = database.query("SELECT entity, version, from_state, to_state FROM once.machine_history ORDER BY entity, version")
    assert len(moved) == len(steps) > rounds / 2
    at = {}
    for entity, version, from_state, to_state in steps:
        state, last = at.get(entity, ("new", 0))
        assert version == last + 1, f"H5: {entity} has two moves to version {version}"
        assert from_state == state and (from_state, to_state) in PATHS, f"H5 I14: {entity} left the graph"
        at[entity] = (to_state, version)
    assert database.value("SELECT count(*) FROM once.machine_entity e WHERE NOT EXISTS (SELECT FROM once.machine_history h "
                          "WHERE h.entity = e.entity AND h.version = e.version AND h.to_state = e.state)") == 0


def test_H2_one_event_id_from_many_sessions_moves_once(database):
    rounds, sessions = 200, 6
    database.execute("""SELECT once.machine_set('count', 'on', '[{"from": "on", "event": "tick", "to": "on"}]')""")

    def deliver(_index, cursor):
        for event_id in range(rounds):
            cursor.execute("SELECT verdict FROM once.transition('count', 'x', 'tick', %s)", (str(event_id),))

    run_all(database, sessions, deliver)
    assert database.value("SELECT version FROM once.machine_entity") == rounds, "H2: an id moved twice or not at all"


def test_H15_opposite_orders_never_deadlock(database):
    names = [f"name-{i}" for i in range(12)]

    def lock(index, cursor):
        shuffle = random.Random(index)
        for _ in range(100):
            cursor.execute("BEGIN; SELECT once.lock(VARIADIC %s); COMMIT", (shuffle.sample(names, 8),))
        return True

    assert all(run_all(database, 6, lock))


def test_H21_blocks_are_disjoint_and_ordered_keys_appear_in_order(database):
    database.execute("CREATE TABLE keys (key bigint)")

    def draw(index, cursor):
        mine, seen, there = [], 0, 0
        for i in range(200):
            cursor.execute("SELECT lower(b), upper(b) FROM once.key_block('p', %s) AS b", (1 + (i * index) % 50,))
            mine.append(cursor.fetchone())
            cursor.execute("BEGIN; INSERT INTO keys SELECT once.key_next_ordered('q'); COMMIT")
            cursor.execute("SELECT max(key), count(*), count(*) FILTER (WHERE key <= %s) FROM keys", (seen,))
            greatest, count, below = cursor.fetchone()
            assert below == there, "H21: a smaller key appeared later"
            seen, there = greatest, count
        assert mine == sorted(mine), "H21: a session's blocks rise"
        return mine

    blocks = sorted(block for mine in run_all(database, 6, draw) for block in mine)
    assert all(left[1] <= right[0] for left, right in zip(blocks, blocks[1:])), "H21: blocks overlap"


def test_dedup_key_of_many_producers_publishes_once(database):
    keys = 200

    def produce(_index, cursor):
        ids = []
        for key in range(keys):
            cursor.execute("SELECT once.publish_text('t', 'x', dedup_key => %s)", (str(key),))
            ids.append(cursor.fetchone()[0])
        return ids

    answers = run_all(database, 6, produce)
    assert all(answer == answers[0] for answer in answers)
    assert database.value("SELECT count(*) FROM once.event_0") == keys


def test_H20_a_dump_carries_machines_entities_ids_leases_and_keys(cluster, database, world_name):
    database.execute(MACHINE)
    database.execute("SELECT once.transition('order', '1', 'create', 'e'), once.memory_set('token', '2 days')")
    first = database.value("SELECT once.publish_text('t', 'x', dedup_key => 'd')")
    waiting = database.value("SELECT once.publish_text('t', 'x', deliver_at => now() + interval '1 hour')")
    token = database.value("SELECT once.issue_token('f', '1 hour')")
    database.execute("SELECT once.lease('l', 'w1', '1 hour'), once.key_block('p', 100)")
    dump = subprocess.run([STAGED_BIN / "pg_dump", "-d", database.dsn(user="postgres")], check=True, stdout=subprocess.PIPE).stdout
    copy = cluster.create_database(world_name + "_copy", extension=False)
    subprocess.run([STAGED_BIN / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", copy.dsn(user="postgres")], input=dump,
                   check=True, stdout=subprocess.DEVNULL)
    try:
        assert copy.value("SELECT verdict FROM once.transition('order', '1', 'create', 'e')") == "duplicate"
        assert copy.value("SELECT verdict FROM once.transition('order', '1', 'pay')") == "moved"
        assert copy.value("SELECT once.publish_text('t', 'x', dedup_key => 'd')") == first
        assert copy.value("SELECT once.unschedule(%s)", (waiting,))
        assert copy.value("SELECT once.redeem_token('f', %s)", (token,)) == "ok"
        assert copy.value("SELECT verdict FROM once.lease('l', 'w2', '1 hour')") == "busy"
        assert copy.value("SELECT once.key_next('p')") > 100
        assert copy.value("SELECT span = '2 days' FROM once.rings() WHERE ring = 'token'")
    finally:
        copy.drop()


def test_machine_set_survives_any_json(database):
    """Fuzz: random definitions are stored or refused with one of the documented codes; a stored one is what was given."""
    seed = 20261122
    source = random.Random(seed)
    words = ["a", "b", "c", "", "x" * 256, "é", "a b", "\t", '"', "\\"]

    def value(depth=0):
        kind = source.randrange(9 if depth < 3 else 6)
        if kind < 3:
            return source.choice(words)
        if kind < 6:
            return source.choice([None, True, 0, -1.5, 10**30, "from"])
        if kind < 7:
            return [value(depth + 1) for _ in range(source.randrange(4))]
        return {source.choice(["from", "event", "to", "x"]): value(depth + 1) for _ in range(source.randrange(5))}

    def transition():
        return {name: source.choice(words[:3] if source.random() < 0.95 else words) for name in ("from", "event", "to")}

    stored = 0
    with database.cluster.session(database.name) as cursor:
        for number in range(3000):
            definition = [transition() for _ in range(source.randrange(1, 5))] if source.random() < 0.6 else value()
            if source.random() < 0.1 and isinstance(definition, list):
                definition.append(value())
            try:
                cursor.execute("SELECT once.machine_set(%s, 'a', %s)", (f"m{number}", psycopg2.extras.Json(definition)))
            except psycopg2.Error as refused:
                assert refused.pgcode in ("22004", "22023", "ON031"), f"seed {seed}, {definition}: {refused}"
                continue
            stored += 1
            cursor.execute("SELECT from_state, event, to_state FROM once.machine_transition WHERE machine = %s", (f"m{number}",))
            assert set(cursor.fetchall()) == {(t["from"], t["event"], t["to"]) for t in definition}, f"seed {seed}"
            for entity_event in ("a", "b", "nothing"):
                cursor.execute("SELECT verdict FROM once.transition(%s, '1', %s)", (f"m{number}", entity_event))
    assert stored > 300


def test_deliver_at_reaches_kafka_when_due_with_its_id(world):
    topic = next(iter(world.topics))
    world.relay().start()
    sooner = world.publish(topic, "sooner", key="k", deliver_at="1970-01-01")
    later = world.database.value("SELECT once.publish_text(%s, 'later', 'k', deliver_at => clock_timestamp() + interval '2 s')", (topic,))
    never = world.database.value("SELECT once.publish_text(%s, 'never', 'k', deliver_at => clock_timestamp() + interval '2 s')", (topic,))
    assert world.database.value("SELECT once.unschedule(%s)", (never,))
    assert [header(message, "once-id") for message in world.messages(topic)] in ([], [sooner])
    wait_until("the event is due and shipped", lambda: len(world.messages(topic)) == 2, 30)
    assert [header(message, "once-id") for message in world.messages(topic)] == [sooner, later]
    assert world.database.value("SELECT count(*) FROM once.scheduled") == 0


@pytest.mark.parametrize("call", [
    "SELECT verdict FROM once.transition('order', %s, 'create')", "SELECT verdict FROM once.lease(%s, 'me', '1 min')"])
def test_US11_serializable_calls_of_unrelated_names_do_not_abort_each_other(database, call):
    """No more than a plain upsert of the same rows does, which is the control."""
    sessions, rounds = 8, 60
    database.execute(MACHINE)
    database.execute("CREATE TABLE plain (name text PRIMARY KEY, n int)")
    upsert = "INSERT INTO plain VALUES (%s, 1) ON CONFLICT (name) DO UPDATE SET n = plain.n + 1"

    def aborted(statement, prefix):
        def many(index, cursor):
            cursor.connection.set_session(isolation_level="SERIALIZABLE")
            count = 0
            for i in range(rounds):
                try:
                    cursor.execute(statement, (f"{prefix}{i:04}-{index}",))
                    cursor.connection.commit()
                except psycopg2.errors.SerializationFailure:
                    cursor.connection.rollback()
                    count += 1
            return count
        return sum(run_all(database, sessions, many))

    assert aborted(call, "x") <= aborted(upsert, "x")


def test_US11_serializable_leases_that_lapsed_are_taken_over_side_by_side(database):
    sessions, rounds = 8, 40
    database.execute("SELECT once.lease(format('%s-%s', i, s), 'before', '1 us') FROM generate_series(0, 39) i, generate_series(0, 7) s")

    def many(index, cursor):
        cursor.connection.set_session(isolation_level="SERIALIZABLE")
        count = 0
        for i in range(rounds):
            try:
                cursor.execute("SELECT verdict FROM once.lease(%s, 'me', '1 min')", (f"{i}-{index}",))
                assert cursor.fetchone()[0] == "acquired"
                cursor.connection.commit()
            except psycopg2.errors.SerializationFailure:
                cursor.connection.rollback()
                count += 1
        return count

    assert sum(run_all(database, sessions, many)) == 0
