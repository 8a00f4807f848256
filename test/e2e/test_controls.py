"""Controls: a safety rule is switched off, the harm it prevents must show. What cannot fail proves nothing.

R1 has its control beside P8 in test_wire.py, the order of the difference beside P2 in test_capture.py.
"""
import pytest
from support.postgres import Cluster
from support.process import wait_until
from support.relay import KILLED
from support.world import World

CUT_WITHOUT_FLUSH = """
CREATE OR REPLACE FUNCTION once.cut(lane int, OUT snapshot pg_snapshot, OUT lsn pg_lsn, OUT timeline int, OUT seq bigint)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_current_snapshot(), pg_current_wal_flush_lsn(), 1, (SELECT last_value FROM once.event_0_seq)
$$"""


def test_control_without_the_position_in_the_transaction_it_doubles(world):
    """What everybody writes first: the position behind the messages. The relay dies in between."""
    topic = next(iter(world.topics))
    off = {"ONCE_TEST_DISABLE": "position_in_transaction", "ONCE_OUTBOX_PRODUCERS": "1"}
    world.relay().drain()
    world.publish_bulk(topic, 50)
    assert world.relay(env=off).crash_at("after_commit") == KILLED
    world.relay(env=off).drain()
    report = world.check()
    assert report.count("doubled") and report.count("torn"), report


def ghosts(world, rounds):
    """An asynchronous commit is shipped at once, and the server dies before it has written it by itself."""
    topic = next(iter(world.topics))
    relay = world.relay("--set", "outbox.report_ms=600000")
    for number in range(rounds):  # a commit that fills a page of WAL is written early
        relay.start()
        relay.wait_state("running")
        with world.database.session() as cursor:
            cursor.execute("SET synchronous_commit = off")
            cursor.execute("SELECT once.publish_text(%s, %s, key => 'k')", (topic, f"event {number}"))
        wait_until("it is shipped", lambda: relay.metric("once_outbox_events_total") == 1, 30, 0.01)
        world.cluster.kill()
        relay.kill()
        world.cluster.start()
        found = len(world.messages()) - world.database.value("SELECT count(*) FROM once.event_0")
        if found:
            return found
    return 0


@pytest.fixture
def slow_to_write(kafka, world_name):
    with Cluster("wal_writer_delay = 10s\n", name="ghost").create() as cluster:
        cluster.start()
        world = World(cluster, kafka, world_name)
        yield world
        for relay in world.relays:
            relay.kill()


def test_P21_an_asynchronous_commit_is_written_before_it_ships(slow_to_write):
    assert ghosts(slow_to_write, 3) == 0


def test_control_P21_without_the_flush_of_the_cut_it_ships_ghosts(slow_to_write):
    slow_to_write.database.execute(CUT_WITHOUT_FLUSH)
    assert ghosts(slow_to_write, 5) > 0
