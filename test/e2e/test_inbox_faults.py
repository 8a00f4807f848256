"""once-relay inbox among things that go wrong: rebalances, paused members, servers that go away, bad messages."""
import threading
import time

import pytest

from support.inbox import Inbox, message
from support.process import RELAY_MB, most_memory, wait_until


def owners(box):
    return box.database.query("SELECT topic, partition, fence FROM once.offset_fence ORDER BY 1, 2")


def feed(box, count, per_second, first=0):
    """Sends in the background; returns the thread."""
    def run():
        for at in range(first, first + count, 50):
            box.send_numbered(50, first=at)
            time.sleep(50 / per_second)
    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("assignor", ["range", "cooperative-sticky"])
def test_I13_rebalances_among_three_processes_under_load(cluster, kafka, world_name, assignor):
    with Inbox(cluster, kafka, world_name, partitions=6, max_rows=50) as box:
        relays = [box.relay("--set", f"kafka.partition.assignment.strategy={assignor}") for _ in range(3)]
        feeder = feed(box, 3000, 250)
        relays[0].start()
        box.wait_applied(200)
        relays[1].start()
        relays[2].start()
        for relay in relays[1:]:
            wait_until("it has partitions", lambda: (relay.metric("once_inbox_partitions") or 0) > 0, 60)
        relays[0].kill()
        time.sleep(2)  # the group has not missed it yet: the next one leaves in the same rebalance
        assert relays[1].stop() == 0
        relays[0].start()
        feeder.join()
        box.wait_applied(3000, timeout=90)
        for relay in (relays[0], relays[2]):
            assert relay.stop() == 0, relay.log()
        box.assert_exact(3000)
        box.assert_history()


def test_F11_paused_member_cannot_commit_after_a_rebalance(cluster, kafka, world_name):
    """Stopped between two transactions, with messages in hand: another takes the partition, acts, and the first wakes."""
    with Inbox(cluster, kafka, world_name, partitions=1, max_rows=10, handler="app.slow") as box:
        with box.database.cluster.session(box.database.name, autocommit=False) as gate:
            first, second = box.relay(), box.relay()
            first.start()
            box.send_numbered(10)
            box.wait_applied(10)
            gate.execute("SELECT pg_advisory_xact_lock(4711)")  # the next batch stops inside its handler
            box.send_numbered(500, first=10)
            box.database.wait_for("the handler waits", "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'advisory'")
            first.process.pause()
            box.database.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'advisory'")
            gate.connection.rollback()
            second.start()
            box.wait_applied(510, timeout=60)
            fence = owners(box)
            first.process.resume()
            first.wait_log("reason=fenced")  # it went on with what it had in hand, under its old number
            box.send_numbered(200, first=510)
            box.wait_applied(710, timeout=60)
        for relay in (first, second):
            assert relay.alive(), relay.log()
            assert relay.stop() == 0
        assert owners(box) >= fence
        box.assert_exact(710)
        box.assert_history()


def test_F11_member_paused_in_its_transaction_is_ended(cluster, kafka, world_name):
    """Stopped while the server still works for it: its open transaction keeps the offset's row, the successor waits
    for it and then ends it. What it did is rolled back."""
    with Inbox(cluster, kafka, world_name, partitions=1, max_rows=10, handler="app.slow") as box:
        with box.database.cluster.session(box.database.name, autocommit=False) as gate:
            first, second = box.relay(), box.relay()
            gate.execute("SELECT pg_advisory_xact_lock(4711)")
            first.start()
            box.send_numbered(300)
            box.database.wait_for("the handler waits", "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'advisory'")
            first.process.pause()
            gate.connection.rollback()  # its handler ends, its transaction stays open: nobody says COMMIT
            second.start()
            box.wait_applied(300, timeout=90)
            first.process.resume()
            time.sleep(2)  # time to commit what it has in hand, if it could
            box.send_numbered(100, first=300)
            box.wait_applied(400, timeout=60)
        assert first.stop() == 0 and second.stop() == 0
        box.assert_exact(400)


def test_F11_batch_of_an_older_fence_is_dropped(cluster, kafka, world_name):
    """Somebody else claims while this member believes that the partition is its own: it is fenced, acts on nothing, and
    claims again because the group still says so."""
    with Inbox(cluster, kafka, world_name, partitions=1) as box:
        relay = box.relay().start()
        box.send_numbered(50)
        box.wait_applied(50)
        group = box.entry["group"]
        box.database.query("SELECT * FROM once.offset_claim(%s, %s, 0)", (group, box.topic))
        box.send_numbered(50, first=50)
        relay.wait_log("reason=fenced")
        assert box.applied() == 50
        box.wait_applied(100)
        assert relay.metric("once_inbox_fenced_total") >= 1
        assert relay.stop() == 0
        box.assert_exact(100)


def test_I13_database_connections_are_cut(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, max_rows=50) as box:
        relay = box.relay().start()
        feeder = feed(box, 2000, 400)
        for _ in range(6):
            time.sleep(0.7)  # under load, wherever that finds it
            box.database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'relay' "
                                 "AND datname = current_database()")
        feeder.join()
        box.wait_applied(2000)
        assert relay.stop() == 0
        box.assert_exact(2000)


def test_I13_database_server_is_killed(kafka, world_name):
    from support.postgres import Cluster
    with Cluster(name="inbox").create() as own:
        own.start()
        with Inbox(own, kafka, world_name, max_rows=50) as box:
            relay = box.relay().start()
            feeder = feed(box, 2000, 300)
            box.wait_applied(200)
            own.kill()
            time.sleep(1)  # away for as long
            own.start()
            before = box.applied()
            wait_until("it goes on", lambda: box.applied() > before, 60)
            own.stop("immediate")
            own.start()
            feeder.join()
            box.wait_applied(2000)
            assert relay.stop() == 0
            box.assert_exact(2000)


@pytest.mark.long
def test_I13_broker_restarts(cluster, world_name):
    from support.kafka import Kafka
    with Kafka() as own:
        with Inbox(cluster, own, world_name, partitions=2, max_rows=50) as box:
            relay = box.relay().start()
            box.send_numbered(500)
            box.wait_applied(500)
            for first, total in ((500, 900), (1000, 1300)):
                feeder = feed(box, 400, 400, first=first)
                own.nodes[0].kill()
                time.sleep(1)  # away for as long
                own.nodes[0].start()
                feeder.join()
                box.wait_applied(total, timeout=90)
            assert relay.stop() == 0
            box.assert_exact(1300)


def test_E10_failing_key_is_held_while_the_rest_goes_on(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=2, max_attempts=2) as box:
        box.database.execute("INSERT INTO app.bad VALUES ('k3')")
        box.send_numbered(400)
        relay = box.relay()
        relay.drain()
        assert box.applied() == 380
        parked = box.database.query("SELECT state, count(*), min(error) FROM once.inbox GROUP BY 1 ORDER BY 1")
        assert [row[:2] for row in parked] == [("parked", 1), ("ready", 19)]
        assert "does not like key k3" in parked[0][2] and "P0001" in parked[0][2]
        box.send_numbered(100, first=400)  # after a restart the key is still held
        relay.start()
        box.wait_applied(475)
        time.sleep(2)  # nothing more comes in this time
        assert box.applied() == 475
        box.database.execute("DELETE FROM app.bad")
        box.database.execute("SELECT once.inbox_redrive('billing')")
        box.wait_applied(500)
        box.send_numbered(100, first=500)  # and is free now
        box.wait_applied(600)
        assert relay.stop() == 0
        rows = [(row[0], int(bytes(row[1]))) for row in box.database.query("SELECT key, payload FROM app.effect ORDER BY nr")]
        for key in {row[0] for row in rows}:
            numbers = [n for k, n in rows if k == key]
            assert numbers == sorted(set(numbers)), f"order of {key}"
        assert len(rows) == 600 and box.database.value("SELECT count(*) FROM once.inbox") == 0


GONE = {"renamed": ("ALTER FUNCTION app.apply RENAME TO away", "ALTER FUNCTION app.away RENAME TO apply", "does not exist"),
        "forbidden": ("ALTER FUNCTION app.apply OWNER TO postgres; REVOKE ALL ON FUNCTION app.apply FROM PUBLIC",
                      "ALTER FUNCTION app.apply OWNER TO relay", "may not be executed"),
        "stable": ("ALTER FUNCTION app.apply STABLE", "ALTER FUNCTION app.apply VOLATILE", "is not volatile")}


@pytest.mark.parametrize("change", GONE)
def test_E10_a_handler_that_goes_away_takes_no_message_with_it(cluster, kafka, world_name, change):
    """While a service is deployed its function may be missing. That is no fault of the messages: none is parked."""
    away, back, words = GONE[change]
    with Inbox(cluster, kafka, world_name, partitions=1, max_attempts=2) as box:
        relay = box.relay().start()
        box.send_numbered(20)
        box.wait_applied(20)
        box.database.execute(away)
        box.send_numbered(20, first=20)
        assert relay.process.wait(60) == 2 and words in relay.log()
        assert box.applied() == 20 and box.database.value("SELECT count(*) FROM once.inbox") == 0
        box.database.execute(back)
        relay.drain()
        box.assert_exact(40)


@pytest.mark.parametrize("store,function", [(False, "accept_many_uuid(text, uuid[], timestamptz[])"),
                                           (True, "inbox_store(text, text[], int[], bigint[], text[], bytea[], jsonb[], text[], text[], bigint[], timestamptz[])")])
def test_E10_a_right_that_goes_away_takes_no_message_with_it(cluster, kafka, world_name, store, function):
    with Inbox(cluster, kafka, world_name, partitions=1, max_attempts=1, store=store) as box:
        box.send_numbered(20)
        relay = box.relay()
        relay.drain()
        box.database.execute(f"REVOKE EXECUTE ON FUNCTION once.{function} FROM relay")
        box.send_numbered(20, first=20)
        assert relay.run("--until-empty") == 4 and "once.grant_consumer" in relay.log()
        assert box.database.value("SELECT count(*) FROM once.inbox WHERE state = 'parked'") == 0
        box.database.execute("SELECT once.grant_consumer('relay')")
        relay.drain()
        assert box.database.value("SELECT count(*) FROM " + ("once.inbox" if store else "app.effect")) == 40


def test_E10_a_long_redrive_does_not_leave_the_group(cluster, kafka, world_name):
    """Who does not poll for max.poll.interval.ms has left it; others would begin what this one is in the middle of."""
    with Inbox(cluster, kafka, world_name, partitions=1, max_attempts=1, handler="app.sleepy") as box:
        box.database.execute("""CREATE FUNCTION app.sleepy(m once.message[]) RETURNS void LANGUAGE plpgsql AS $$
            BEGIN PERFORM app.apply(m); PERFORM pg_sleep(0.7); END $$""")
        box.database.execute("INSERT INTO app.bad VALUES ('k')")
        box.send(message(n, key="k") for n in range(16))
        relay = box.relay("--set", "kafka.max.poll.interval.ms=6000")
        relay.drain()
        assert box.applied() == 0
        box.database.execute("DELETE FROM app.bad")
        box.database.execute("SELECT once.inbox_redrive('billing')")
        relay.start()
        box.wait_applied(16)
        time.sleep(1)  # a rebalance would be heard of with the next heartbeat
        assert "inbox_revoked" not in relay.log()
        assert relay.stop() == 0
        box.assert_exact(16)


def test_E10_a_handler_that_is_replaced_goes_on(cluster, kafka, world_name):
    """In one transaction, as migrations do: the next batch is for the new one."""
    with Inbox(cluster, kafka, world_name, partitions=1, max_attempts=1) as box:
        relay = box.relay().start()
        box.send_numbered(20)
        box.wait_applied(20)
        box.database.execute("ALTER FUNCTION app.apply RENAME TO first; CREATE FUNCTION app.apply(m once.message[]) RETURNS void "
                             "LANGUAGE sql AS 'SELECT app.first(m)'")
        box.send_numbered(20, first=20)
        box.wait_applied(40)
        assert relay.stop() == 0
        box.assert_exact(40)


# What a handler must not do: its message is put aside, nothing else is touched, the relay goes on.
MISCHIEF = {"commits": "COMMIT", "rolls back": "ROLLBACK", "opens": "EXECUTE 'BEGIN'",
            "changes the level": "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "divides": "PERFORM 1 / 0"}


@pytest.mark.parametrize("deed", MISCHIEF)
def test_E8_a_handler_that_ends_or_breaks_its_transaction(cluster, kafka, world_name, deed):
    with Inbox(cluster, kafka, world_name, partitions=1, max_attempts=1, handler="app.mischief") as box:
        box.database.execute(f"""CREATE FUNCTION app.mischief(m once.message[]) RETURNS void LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM app.apply(m);
                IF 'bad' = ANY (SELECT key FROM unnest(m)) THEN {MISCHIEF[deed]}; END IF;
            END $$""")
        box.send([message(n, key="bad" if n == 3 else "good") for n in range(6)])
        box.relay().drain()
        assert [int(bytes(row[0])) for row in box.database.query("SELECT payload FROM app.effect ORDER BY nr")] == [0, 1, 2, 4, 5]
        assert box.database.query("SELECT state, key FROM once.inbox") == [("parked", "bad")]


# What a handler leaves behind in its session must not reach the next batches.
LEFT_BEHIND = ["SET search_path = nowhere", "SET default_transaction_isolation = 'serializable'", "SET default_transaction_read_only = on"]


@pytest.mark.parametrize("setting", LEFT_BEHIND)
def test_E8_a_setting_that_a_handler_leaves_behind(cluster, kafka, world_name, setting):
    with Inbox(cluster, kafka, world_name, partitions=2, max_rows=10, max_attempts=1, handler="app.careless") as box:
        box.database.execute(f"""CREATE FUNCTION app.careless(m once.message[]) RETURNS void LANGUAGE plpgsql AS $$
            BEGIN
                ASSERT current_setting('transaction_isolation') = 'read committed';
                PERFORM app.apply(m);
                {setting};
            END $$""")
        box.send_numbered(50)
        box.relay().drain()
        box.assert_exact(50)
        assert box.database.value("SELECT count(*) FROM once.inbox") == 0


def test_E10_message_that_is_given_up_frees_its_key(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=1, max_attempts=1) as box:
        box.database.execute("INSERT INTO app.bad VALUES ('k1')")
        box.send_numbered(40, keys=4)
        relay = box.relay()
        relay.drain()
        assert box.applied() == 30
        box.database.execute("DELETE FROM app.bad")
        box.database.execute("SELECT once.inbox_done('billing', array_agg(id)) FROM once.inbox WHERE state = 'parked'")
        relay.start()
        box.wait_applied(39)
        assert relay.stop() == 0


def test_E10_skip_lets_the_key_go_on(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=1, max_attempts=1, on_poison="skip") as box:
        box.send([message("0", key="a"), message("1", key="bad"), message("2", key="a")])
        box.database.execute("INSERT INTO app.bad VALUES ('bad')")
        relay = box.relay()
        relay.drain()
        box.database.execute("DELETE FROM app.bad")
        box.send([message("3", key="bad")])
        relay.drain()
        assert [bytes(r[0]) for r in box.database.query("SELECT payload FROM app.effect ORDER BY nr")] == [b"0", b"2", b"3"]
        assert box.database.query("SELECT state, key FROM once.inbox") == [("parked", "bad")]


def test_E10_stop_names_the_message(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=1, max_attempts=1, on_poison="stop") as box:
        box.send([message("0", key="a"), message("1", key="bad"), message("2", key="a")])
        box.database.execute("INSERT INTO app.bad VALUES ('bad')")
        relay = box.relay()
        assert relay.run("--until-empty") == 6
        assert f"{box.topic}/0 at offset 1" in relay.log() and box.applied() == 1


@pytest.mark.parametrize("state", ["40001", "40P01", "53100"])
def test_E6_transient_errors_are_tried_again(cluster, kafka, world_name, state):
    with Inbox(cluster, kafka, world_name, partitions=1, max_attempts=1) as box:
        box.database.execute("INSERT INTO app.bad VALUES ('k1', %s)", (state,))
        box.send_numbered(20)
        relay = box.relay().start()
        relay.wait_log(f"SQLSTATE {state}")
        time.sleep(1)  # tried several times
        assert box.applied() == 0
        box.database.execute("DELETE FROM app.bad")
        box.wait_applied(20)
        assert relay.stop() == 0 and box.database.value("SELECT count(*) FROM once.inbox") == 0
        box.assert_exact(20)


def test_E8_deferred_constraint_fails_at_commit(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=1, max_attempts=1, retry="23503=") as box:  # no parent will come
        box.database.execute("CREATE TABLE app.allowed (key text PRIMARY KEY); INSERT INTO app.allowed VALUES ('k0')")
        box.database.execute("ALTER TABLE app.effect ADD FOREIGN KEY (key) REFERENCES app.allowed "
                             "DEFERRABLE INITIALLY DEFERRED")
        box.database.execute("GRANT ALL ON app.allowed TO relay")
        box.send_numbered(40, keys=4)
        box.relay().drain()
        assert box.applied() == 10
        assert box.database.value("SELECT count(*) FROM once.inbox WHERE state = 'parked' AND error LIKE '%23503%'") == 3


def test_P25_slow_handler_keeps_memory_bounded(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=2, handler="app.slow") as box:
        box.send(message(bytes(4000) + str(n).encode(), key=f"k{n}") for n in range(20000))
        with box.database.cluster.session(box.database.name, autocommit=False) as gate:
            gate.execute("SELECT pg_advisory_xact_lock(4711)")
            relay = box.relay().start()
            box.database.wait_for("the handler waits", "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'advisory'")
            time.sleep(5)  # 80 MB wait: a queue without bounds would show
            megabytes = most_memory(relay.process.pid)
            assert relay.get("/healthz")[0] == 200, "a handler at work is no dead relay"
            assert megabytes < RELAY_MB, f"{megabytes} MB"
            gate.connection.rollback()
        box.wait_applied(20000)
        assert relay.stop() == 0


def test_P24_stop_ends_a_handler_that_hangs(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=1, handler="app.slow") as box:
        with box.database.cluster.session(box.database.name, autocommit=False) as gate:
            gate.execute("SELECT pg_advisory_xact_lock(4711)")
            box.send_numbered(10)
            relay = box.relay().start()
            box.database.wait_for("the handler waits", "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'advisory'")
            started = time.monotonic()
            assert relay.stop() == 0
            assert time.monotonic() - started < 15
        relay.drain()
        box.assert_exact(10)


def test_I13_foreign_member_is_refused(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=2) as one, Inbox(cluster, kafka, world_name + "_o") as other:
        first = one.relay().start()
        first.wait_log("inbox_assigned")
        # A relay of another database in the same group would get half of the messages.
        second = other.relay(topic=one.topic, group=one.entry["group"])
        assert second.run(timeout=30) == 6
        assert "a relay of another database" in second.log()
        assert first.alive() and first.stop() == 0


def test_F14_partitions_added_while_running(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=2) as box:
        relay = box.relay("--set", "kafka.topic.metadata.refresh.interval.ms=1000").start()
        box.send_numbered(100)
        box.wait_applied(100)
        kafka.tools.run("add_partitions", topic=box.topic, partitions=4)
        wait_until("the new partitions are assigned", lambda: len(owners(box)) == 4, 60, 0.2)
        box.send([message(f"p{p}", key=f"x{p}", partition=p) for p in range(4)])
        box.wait_applied(104)
        assert relay.stop() == 0
        box.assert_exact(104)


@pytest.mark.parametrize("start", ["earliest", "latest", "refuse"])
def test_F14_one_source_over_three_partitions_then_a_fourth(cluster, kafka, world_name, start):
    """Positions rise within a partition alone. And what comes into a new partition before anybody reads it is no history
    that a new group may pass over."""
    source = "0199c1a0-5c3e-4bbb-8123-0123456789ab/0"

    def numbered(numbers, partitions):
        return [message(n, key=f"k{n}", partition=n % partitions, source=source, position=n) for n in numbers]

    with Inbox(cluster, kafka, world_name, partitions=3, max_attempts=1, handler="app.positions") as box:
        box.database.execute("""CREATE FUNCTION app.positions(messages once.message[]) RETURNS void LANGUAGE plpgsql AS $$
            BEGIN
                ASSERT (SELECT bool_and(once.accept_position('positions', m.source, m.pos) = 'new') FROM unnest(messages) m);
                PERFORM app.apply(messages);
            END $$""")
        box.send(numbered(range(300), 3))
        box.relay().drain()
        box.assert_exact(300)
        kafka.tools.run("add_partitions", topic=box.topic, partitions=4)
        box.send(numbered(range(300, 400), 4))
        box.relay(start=start).drain()
        box.assert_exact(400)
        assert box.database.value("SELECT count(*) FROM once.position") == 4


def test_F10_new_topic_of_a_pattern_is_found_while_running(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=1) as box:
        relay = box.relay("--set", "kafka.topic.metadata.refresh.interval.ms=1000", topic=f"^{box.topic}.*").start()
        box.send_numbered(100)
        box.wait_applied(100)
        kafka.create_topic(box.topic + ".new", 2)
        box.send((message(f"new {n}", key=f"k{n}") for n in range(100)), topic=box.topic + ".new")
        box.wait_applied(200)
        assert relay.stop() == 0
        box.assert_exact(200)
        box.assert_history(box.topic, box.topic + ".new")
