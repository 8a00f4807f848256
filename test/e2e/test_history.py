"""Is this still the same history? What cannot be continued safely is refused with exit 6, and changes nothing."""
import base64
import shutil
import subprocess

import pytest

from support.postgres import Cluster
from support.process import STAGED_BIN, wait_until
from support.relay import KILLED
from support.world import World

REFUSED = 6


def refused(world, relay=None):
    """The relay ends with 6, says why, and neither events nor positions appear."""
    before = len(world.messages()), len(positions_of(world))
    relay = relay or world.relay()
    status = relay.run("--until-empty")
    assert status == REFUSED, f"exit {status}\n{relay.log()}"
    assert (len(world.messages()), len(positions_of(world))) == before, "something was committed"
    return relay.log()


def positions_of(world):
    return [message for message in world.positions() if not message.key.endswith(b"/start")]


@pytest.fixture
def shipped(world):
    """A world in which five events were shipped."""
    topic = next(iter(world.topics))
    for number in range(5):
        world.publish(topic, f"event {number}", key="k")
    world.relay().drain()
    assert len(world.messages()) == 5
    return world


def test_P28_first_start_ships_everything_that_is_there(world):
    work = world.writers(seed=28).run(threads=2, transactions=40)
    assert world.database.value("SELECT armed FROM once.lane") is False
    world.relay().drain()
    assert world.assert_exact().delivered == work.committed
    assert world.database.value("SELECT armed FROM once.lane") is True


def test_position_is_found_however_deep_it_lies(shipped):
    """The hint is gone, so the tail is read, then further back in windows: the last record counts, not an older one."""
    def others(count):
        messages = [{"key": base64.b64encode(b"other/0").decode(), "value": "e30=", "partition": 0}] * count
        shipped.kafka.tools.run("produce_many", topic=shipped.position_topic, messages=messages)
        shipped.database.execute("UPDATE once.relay_report SET offset_hint = NULL")

    topic = next(iter(shipped.topics))
    for number, depth in enumerate([3000, 15000, 25000], 5):
        others(depth)
        shipped.publish(topic, f"event {number}", key="k")
        shipped.relay().drain()
    assert [m.value for m in shipped.messages(topic)] == [b"event %d" % number for number in range(8)]
    # A lane that has no record at all: every window is read, and it is a first start.
    other = World(shipped.cluster, shipped.kafka, f"{shipped.name}_first")
    other.position_topic = shipped.position_topic
    other.publish(next(iter(other.topics)), "first", key="k")
    relay = other.relay()
    relay.drain()
    assert "genesis" in relay.log() and [m.value for m in other.messages()] == [b"first"]
    other.close()


def test_P14_P28_position_topic_deleted(shipped):
    """Under a relay that runs, which was about to ship, and for the next one. Nobody makes the topic anew."""
    topic = next(iter(shipped.topics))
    running = shipped.relay().start()
    running.wait_state("running")
    shipped.kafka.tools.run("delete_topic", topic=shipped.position_topic)
    shipped.publish(topic, "sixth", key="k")
    assert running.process.wait(90) == REFUSED, running.log()
    again = shipped.relay()
    assert again.run("--until-empty") == REFUSED, again.log()
    for relay in (running, again):
        assert f'topic "{shipped.position_topic}" is missing' in relay.log() and "rearm" in relay.log()
    assert len(shipped.messages()) == 5
    assert shipped.position_topic not in shipped.kafka.tools.run("list_topics")


def test_P14_position_record_gone(shipped):
    tools, topic = shipped.kafka.tools, shipped.position_topic
    end = tools.run("end_offsets", topic=topic)["0"]

    def deleted():
        """A compacted topic lets nobody delete, and the broker hears of another policy a little later."""
        try:
            tools.run("delete_records", topic=topic, partition=0, before=end)
            return True
        except RuntimeError as error:
            assert "PolicyViolation" in str(error)
            return False
    tools.run("alter_topic", topic=topic, settings={"cleanup.policy": "delete"})
    wait_until("the records are deleted", deleted, 20, 0.1)
    tools.run("alter_topic", topic=topic, settings={"cleanup.policy": "compact"})
    log = refused(shipped)
    assert "rearm" in log


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_P14_position_topic_gets_a_delete_policy(shipped, policy):
    shipped.kafka.tools.run("alter_topic", topic=shipped.position_topic, settings={"cleanup.policy": policy})
    shipped.topic("later", 1)  # the broker hears of things in their order: now it knows
    shipped.publish(next(iter(shipped.topics)), "x", key="k")
    assert f"cleanup.policy={policy}" in refused(shipped)


def copy_by_template(world):
    world.cluster.execute(f'CREATE DATABASE "{world.name}_copy" TEMPLATE "{world.name}"')
    return f"{world.name}_copy"


def test_P13_P31_template_copy_is_refused_and_disturbs_the_original_in_nothing(shipped):
    """The copy has the same incarnation, system identifier and timeline; only the database oid differs."""
    copy = copy_by_template(shipped)
    topic = next(iter(shipped.topics))
    original = shipped.relay().start()
    original.wait_state("running")
    log = refused(shipped, shipped.relay(database=shipped.cluster.dsn(copy, "relay")))
    assert "database" in log
    shipped.publish(topic, "sixth", key="k")  # a producer that was fenced notices at its next transaction
    wait_until("the sixth is shipped", lambda: original.metric("once_outbox_events_total") == 1, 30, 0.05)
    assert original.metric("once_outbox_producer_recycles_total") == 0, "P31: the original was disturbed"
    assert original.stop() == 0
    shipped.relay().drain()
    assert shipped.assert_exact().delivered == 6
    shipped.cluster.execute(f'DROP DATABASE "{copy}"')


@pytest.mark.parametrize("busy", [1, 50], ids=["as_far_as_the_original", "further"])
def test_P13_P31_clone_of_the_server_is_refused_and_disturbs_the_original_in_nothing(shipped, busy):
    """A base backup that is started beside the original: everything is the same but what the original shipped since."""
    topic = next(iter(shipped.topics))
    original = shipped.relay().start()
    original.wait_state("running")
    with Cluster(name="clone").copy_of(shipped.cluster, standby=False) as clone:
        clone.start()
        shipped.publish(topic, "sixth", key="k")
        wait_until("the sixth is shipped", lambda: len(shipped.messages()) == 6, 30, 0.1)
        for _ in range(busy):
            clone.execute("SELECT once.publish_text(%s, 'of the clone'::text, key => 'k')", (topic,), shipped.name)
        assert "1 messages are in Kafka and not in this database" in refused(
            shipped, shipped.relay(database=clone.dsn(shipped.name, "relay")))
        shipped.publish(topic, "seventh", key="k")
        wait_until("the seventh is shipped", lambda: original.metric("once_outbox_events_total") == 2, 30, 0.05)
        assert len(shipped.messages()) == 7
        assert original.metric("once_outbox_producer_recycles_total") == 0, "P31: the original was disturbed"
        assert original.stop() == 0
    assert shipped.assert_exact().delivered == 7


def test_P13_dump_and_restore_is_another_stream(shipped, world_name):
    copy = f"{world_name}_restored"
    dump = subprocess.run([STAGED_BIN / "pg_dump", "-d", shipped.cluster.dsn(shipped.name)], check=True,
                          stdin=subprocess.DEVNULL, capture_output=True).stdout
    shipped.cluster.execute(f'CREATE DATABASE "{copy}"')
    restore = subprocess.run([STAGED_BIN / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", shipped.cluster.dsn(copy)],
                             input=dump, capture_output=True, check=False)
    assert restore.returncode == 0, restore.stderr.decode()
    incarnation = shipped.cluster.query("SELECT incarnation::text FROM once.lane", database=copy)[0][0]
    assert incarnation != shipped.incarnation()
    topic = next(iter(shipped.topics))
    shipped.cluster.execute("SELECT once.publish_text(%s, 'of the copy'::text, key => 'k')", (topic,), copy)
    relay = shipped.relay(database=shipped.cluster.dsn(copy, "relay"))
    assert relay.run("--until-empty") == 0, relay.log()
    shipped.publish(topic, "of the original", key="k")
    shipped.relay().drain()
    values = [message.value for message in shipped.messages()]
    assert values[5:] == [b"of the copy", b"of the original"] and len(set(values)) == 7, values
    shipped.cluster.execute(f'DROP DATABASE "{copy}"')


@pytest.fixture
def own_cluster(kafka, world_name):
    """A world on a cluster of its own: for tests that take it apart."""
    with Cluster(name="own").create() as cluster:
        cluster.start()
        world = World(cluster, kafka, world_name)
        topic = next(iter(world.topics))
        for number in range(5):
            world.publish(topic, f"event {number}", key="k")
        world.relay().drain()
        yield world
        for relay in world.relays:
            if relay.process:
                relay.process.kill()


def restore_in_place(world):
    """Ships three events more and puts the disk image from before them back."""
    cluster, topic = world.cluster, next(iter(world.topics))
    image = cluster.folder / "image"
    cluster.stop()
    subprocess.run(["cp", "-a", cluster.data, image], check=True)
    cluster.start()
    for number in range(3):
        world.publish(topic, f"lost {number}", key="k")
    world.relay().drain()
    assert len(world.messages()) == 8
    cluster.stop()
    shutil.rmtree(cluster.data)
    image.rename(cluster.data)
    cluster.start()


def test_P13_disk_image_restored_in_place(own_cluster):
    world = own_cluster
    restore_in_place(world)
    log = refused(world)
    assert "3 messages are in Kafka and not in this database" in log
    for number in range(6):  # the same numbers are given again, to other events
        world.publish(next(iter(world.topics)), f"again {number}", key="k")
    refused(world)


@pytest.mark.parametrize("mode, delivered", [("all", 8 + 6), ("none", 8 + 1), ("missing", 8 + 2)])
def test_P13_rearm_modes(own_cluster, mode, delivered):
    """After the restored image 5 old events and 1 new one stand in the tables; one more is published afterwards."""
    world = own_cluster
    topic = next(iter(world.topics))
    restore_in_place(world)
    world.publish(topic, "new", key="k")
    refused(world)
    world.database.execute("SELECT once.rearm(0, 'continue')")  # not the same transactions: no answer
    assert "cannot continue" in refused(world)
    world.database.execute("SELECT once.rearm(0, %s)", (mode,))
    world.relay().drain()
    world.publish(topic, "afterwards", key="k")
    world.relay().drain()
    values = [message.value for message in world.messages()]
    expected = {"all": delivered + 1, "none": delivered, "missing": delivered}[mode]
    assert len(values) == expected, values
    assert values[-1] == b"afterwards"
    assert (b"new" in values) == (mode != "none")
    assert values.count(b"event 0") == (2 if mode == "all" else 1)


def test_P13_rearm_continue_after_a_switch_somebody_verified(shipped):
    """The lane goes on at the same place: nothing twice."""
    copy = copy_by_template(shipped)
    clone = shipped.relay(database=shipped.cluster.dsn(copy, "relay"))
    refused(shipped, clone)
    shipped.cluster.execute("SELECT once.rearm(0, 'continue')", database=copy)
    shipped.cluster.execute("SELECT once.publish_text(%s, 'sixth'::text, key => 'k')", (next(iter(shipped.topics)),), copy)
    assert clone.run("--until-empty") == 0, clone.log()
    assert [m.value for m in shipped.messages()][-1] == b"sixth"
    assert len(shipped.messages()) == 6
    shipped.cluster.execute(f'DROP DATABASE "{copy}"')


def on_either(world, *clusters):
    """A relay that is told both servers and works on the one that takes writes, as after a failover."""
    hosts, ports = (",".join(str(getattr(cluster, name)) for cluster in clusters) for name in ("folder", "port"))
    return world.relay(database=f"host={hosts} port={ports} user=relay dbname={world.name} target_session_attrs=read-write")


def caught_up(standby, primary):
    here = primary.query("SELECT pg_current_wal_lsn()::text")[0][0]
    wait_until("the standby has everything",
               lambda: standby.query("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (here,))[0][0], 30)


def test_P12_failover_that_lost_nothing(own_cluster):
    """The relay runs meanwhile, and nobody starts or asks it: it resumes by itself."""
    world, topic = own_cluster, next(iter(own_cluster.topics))
    with Cluster(name="standby").copy_of(world.cluster) as standby:
        standby.start()
        relay = on_either(world, world.cluster, standby).start()
        relay.wait_state("running")
        world.publish(topic, "kept", key="k")
        wait_until("it is shipped", lambda: len(world.messages()) == 6, 30, 0.2)
        world.cluster.stop()
        standby.promote()
        standby.execute("SELECT once.publish_text(%s, 'after'::text, key => 'k')", (topic,), world.name)
        wait_until("it goes on", lambda: len(world.messages()) == 7, 40, 0.2)
        assert relay.stop() == 0
        assert [m.value for m in world.messages()] == [b"event %d" % n for n in range(5)] + [b"kept", b"after"]


@pytest.mark.parametrize("survives", [False, True], ids=["the_last_is_lost", "its_later_numbered_neighbour_survives"])
def test_P11_failover_that_loses_shipped_commits(own_cluster, survives):
    """One commit to a topic that the tables know, one to a topic whose every trace is lost with it."""
    world, topic = own_cluster, next(iter(own_cluster.topics))
    unknown = world.topic("unknown", 1)
    with Cluster(name="standby").copy_of(world.cluster) as standby:
        standby.start()
        with world.database.connect(autocommit=False) as late, late.cursor() as cursor:
            cursor.execute("SELECT once.publish_text(%s, 'lost'::text, key => 'k')::text, once.publish_text(%s, 'unseen'::text)",
                           (topic, unknown))
            lost = cursor.fetchone()[0]
            if survives:
                world.publish(topic, "survives", key="later")
            caught_up(standby, world.cluster)
            standby.stop()  # receives nothing any more, not even what the socket holds
            late.commit()
        world.relay().drain()
        assert len(world.messages()) == 7 + survives
        world.cluster.kill()
        standby.start()
        standby.promote()
        if survives:  # ids of transactions are used again, too: what is left to know it by is the WAL
            for _ in range(20):
                standby.execute("SELECT pg_current_xact_id()")
        log = refused(world, on_either(world, world.cluster, standby))
        assert "shipped from: " + ("lsn" if survives else "xid") in log, log
        assert "1 messages are in Kafka and not in this database" in log, log
        assert "What became of 1 more" in log, log
        named = [line for line in log.splitlines() if "only_in_kafka" in line]
        assert len(named) == 1 and f"ids={lost}" in named[0], log


def test_P29_old_primary_keeps_running_after_a_promotion(own_cluster):
    """Each has a relay. Whichever ships first goes on, exact; the other is refused and ships nothing."""
    world, topic = own_cluster, next(iter(own_cluster.topics))
    with Cluster(name="standby").copy_of(world.cluster) as standby:
        standby.start()
        caught_up(standby, world.cluster)
        standby.promote()
        relays = {cluster: world.relay(database=cluster.dsn(world.name, "relay")).start()
                  for cluster in (world.cluster, standby)}
        for number in range(20):
            for cluster in relays:
                cluster.execute("SELECT once.publish_text(%s, %s::text, key => 'k')", (topic, f"{cluster.port} {number}"), world.name)
        wait_until("one of them is refused", lambda: not all(relay.alive() for relay in relays.values()), 40, 0.1)
        refused_one, other = sorted(relays, key=lambda cluster: relays[cluster].alive())
        assert relays[refused_one].process.wait(1) == REFUSED, relays[refused_one].log()
        wait_until("the other has shipped all", lambda: len(world.messages()) >= 25, 40, 0.3)
        other.execute("SELECT once.publish_text(%s, 'later'::text, key => 'k')", (topic,), world.name)
        wait_until("and goes on", lambda: len(world.messages()) >= 26, 40, 0.3)
        assert relays[other].stop() == 0
        values = [message.value.decode() for message in world.messages()]
        assert values[5:] == [f"{other.port} {number}" for number in range(20)] + ["later"], "one history"


def rearm_deaths():
    """`continue` has no genesis, and of `none` nothing is shipped."""
    for mode in ("continue", "all", "none", "missing"):
        points = ["after_start_record", "after_arm"]
        points += ["after_genesis"] if mode != "continue" else []
        points += ["after_k_messages", "in_commit", "after_commit"] if mode != "none" else []
        yield from ((mode, point) for point in points)


@pytest.mark.parametrize("mode, point", rearm_deaths())
def test_P32_killed_in_each_step_of_a_rearm(shipped, mode, point):
    """Five events are shipped, three wait, one comes later; transactions hold two."""
    topic = next(iter(shipped.topics))
    small = {"ONCE_OUTBOX_MAX_ROWS": "2", "ONCE_OUTBOX_SLICE_ROWS": "2"}
    for number in range(3):
        shipped.publish(topic, f"new {number}", key="k")
    shipped.database.execute("SELECT once.rearm(0, %s)", (mode,))
    assert shipped.relay(env=small).crash_at(point) == KILLED, shipped.last_log()
    shipped.relay(env=small).drain()
    shipped.publish(topic, "afterwards", key="k")
    shipped.relay(env=small).drain()
    old, new = [f"event {number}" for number in range(5)], [f"new {number}" for number in range(3)]
    expected = {"continue": old + new, "all": old + old + new, "none": old, "missing": old + new}[mode]
    assert [message.value.decode() for message in shipped.messages()] == expected + ["afterwards"]


@pytest.mark.parametrize("mode, point", [("continue", "after_stamp"), ("all", "after_redrive_commit"), ("none", "before_redrive_commit"),
                                         ("missing", "after_stamp")])
def test_P32_rearm_and_what_was_put_aside(world, mode, point):
    """Of two keys an event was refused: one was shipped again before the rearm, the other is after it, through a crash."""
    small = world.topic("small", 1, max_message_bytes=2000)
    for key, value in (("a", "a1"), ("b", "b1"), ("a", "a2" * 2000), ("a", "a3"), ("b", "b2" * 2000)):
        world.publish(small, value, key=key)
    world.relay().drain()
    world.kafka.tools.run("alter_topic", topic=small, settings={"max.message.bytes": "100000"})
    assert world.database.value("SELECT once.redrive(%s, 'a')", (small,)) == 2
    world.relay().drain()
    assert keys(world, small) == {"a": ["a1", "a2", "a3"], "b": ["b1"]}
    world.database.execute("SELECT once.rearm(0, %s)", (mode,))
    if mode == "all":  # which wants again what was shipped again
        assert world.relay().crash_at(point) == KILLED, world.last_log()
    world.relay().drain()
    again = {"a": ["a1", "a2", "a3"], "b": ["b1"]} if mode == "all" else {"a": [], "b": []}
    assert keys(world, small) == {"a": ["a1", "a2", "a3", *again["a"]], "b": ["b1", *again["b"]]}, "what is held ships nothing"
    assert world.database.value("SELECT once.redrive_all()") == 1
    assert world.relay().crash_at(point) == KILLED, world.last_log()
    world.relay().drain()
    world.publish(small, "a4", key="a")
    world.relay().drain()
    assert keys(world, small) == {"a": ["a1", "a2", "a3", *again["a"], "a4"], "b": ["b1", *again["b"], "b2"]}


def keys(world, topic):
    """key → the beginnings of its payloads, in the log's order."""
    found = {}
    for message in world.messages(topic):
        found.setdefault(message.key.decode(), []).append(message.value[:2].decode())
    return found


def test_P12_failover_after_everything_was_trimmed(own_cluster):
    """Only the last passed event is left to know the history by."""
    world, topic = own_cluster, next(iter(own_cluster.topics))
    world.database.execute("SELECT once.rotate()")
    world.publish(topic, "last", key="k")
    world.relay().drain()
    assert world.database.query("SELECT convert_from(payload, 'utf8') FROM once.event_0") == [("last",)]
    with Cluster(name="standby").copy_of(world.cluster) as standby:
        standby.start()
        world.cluster.stop()
        standby.promote()
        relay = world.relay(database=standby.dsn(world.name, "relay"))
        assert relay.run("--until-empty") == 0, relay.log()
        standby.execute("SELECT once.publish_text(%s, 'after'::text, key => 'k')", (topic,), world.name)
        assert relay.run("--until-empty") == 0, relay.log()
        values = [message.value for message in world.messages()]
        assert values == [f"event {n}".encode() for n in range(5)] + [b"last", b"after"]
