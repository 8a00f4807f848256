"""Who works on a lane: one relay at a time, the others stand by; safety never rests on the lock."""
import os
import time

import pytest
from support.process import wait_until
from support.proxy import PRODUCE, Proxy

ROUNDS = int(os.environ.get("ROUNDS", "10"))  # 100 in the long run


def transactional_id(world, number=0):
    return f"once-{world.incarnation()}-0-{number}"


def test_P4_two_relays_take_turns(world):
    work = world.writers(seed=4).start(threads=2, pause=0.01)
    active, standby = world.relay().start(), world.relay()
    active.wait_state("running")
    standby.start()
    standby.wait_state("standby")
    for _ in range(ROUNDS):
        active.kill()
        started = time.monotonic()
        standby.wait_state("running", timeout=10)
        assert time.monotonic() - started < 10
        active, standby = standby, active
        standby.start()
        standby.wait_state("standby", timeout=10)
    work.stop()
    standby.kill()
    assert active.stop() == 0
    world.relay().drain()
    world.assert_exact()


def test_P4_standby_with_until_empty_ends_beside_an_idle_holder(world):
    """The holder's last report is older than the standby, and nothing new happens that it would have to report."""
    holder = world.relay().start()
    holder.wait_state("running")
    world.publish(list(world.topics)[0], "x", key="k")
    wait_until("all is reported", lambda: world.database.value(
        "SELECT (info ->> 'empty')::boolean AND position ->> 'counter' = '1' FROM once.relay_report"), 20)
    assert world.relay().run("--until-empty", timeout=30) == 0
    assert holder.stop() == 0


def test_lanes_ship_side_by_side_and_each_on_its_own(world):
    world.database.execute("SELECT once.set_lanes(3)")
    work = world.writers(seed=3).start(threads=3)
    for _ in range(3):
        relay = world.relay().start()
        shipped = relay.metric("once_outbox_events_total", lane="2") or 0
        wait_until("the last lane ships", lambda: (relay.metric("once_outbox_events_total", lane="2") or 0) > shipped,
                   30, 0.05)
        time.sleep(0.5)  # and is killed wherever that finds it
        relay.kill()
    work.stop()
    world.relay().drain()
    report = world.assert_exact()
    assert report.delivered > 100
    assert {row.lane for row in world.rows.values()} == {0, 1, 2}


def test_P4_P5_paused_holder_loses_the_lane_and_commits_nothing_when_it_wakes(world):
    """It is paused where no timeout of its own stops it: it has a batch and waits for a topic. As soon as it wakes it
    begins a transaction, and only its epoch is in the way."""
    work = world.writers(seed=45).run(threads=2, transactions=20)
    holder, successor = world.relay().start(), world.relay()
    wait_until("it ships", lambda: holder.metric("once_outbox_position") == work.committed, 30, 0.05)
    for number in range(20):
        world.publish(f"{world.name}.later", f"event {number}", key="k")
    holder.wait_state("blocked")
    successor.start()
    successor.wait_state("standby")
    time.sleep(3)  # by now it asks for the topic once in a while
    holder.process.pause()
    started = time.monotonic()
    successor.wait_state("blocked", timeout=25)
    assert time.monotonic() - started < 21
    world.topic("later", 2)
    wait_until("the successor ships", lambda: successor.metric("once_outbox_events_total") == 20, 30, 0.05)
    holder.process.resume()
    wait_until("it steps down", lambda: holder.state() == "standby", 20, 0.1)
    assert "producer_fenced" in holder.log()
    assert holder.metric("once_outbox_events_total") == work.committed, "it committed after it was deposed"
    assert successor.state() == "running", "no duel"
    world.publish(f"{world.name}.later", "afterwards", key="k")
    wait_until("the successor goes on", lambda: successor.metric("once_outbox_events_total") == 21, 30, 0.05)
    assert not successor.metric("once_outbox_producer_recycles_total"), "nobody fenced it"
    holder.kill()
    assert successor.stop() == 0
    assert world.assert_exact().delivered == work.committed + 21


def in_copy(world, answer="count(*) > 0"):
    return world.database.value(f"SELECT {answer} FROM pg_stat_activity WHERE datname = current_database() "
                                "AND query ~ '^COPY' AND state = 'active'")


def pause_in_copy(world, holder):
    """Its session is then stuck: the server waits for somebody to read what it has sent."""
    for _ in range(20):
        wait_until("a COPY stands", lambda: in_copy(world), 30, 0.001)
        holder.process.pause()
        time.sleep(0.5)  # a COPY that is at its end would be through
        if in_copy(world):
            return
        holder.process.resume()
    raise AssertionError("it was never caught in a COPY")


@pytest.mark.long
def test_P4_holder_stopped_in_the_middle_of_a_copy_loses_the_lane(world):
    """A session stuck in COPY outlives every server timeout; the waiter ends it."""
    topic = next(iter(world.topics))
    world.publish_bulk(topic, 150_000, size=500)
    holder, successor = world.relay().start(), world.relay()
    pause_in_copy(world, holder)
    stuck = in_copy(world, "min(pid)")
    started = time.monotonic()
    successor.start()
    successor.wait_state("running", timeout=30)
    assert time.monotonic() - started < 21
    assert f"silent_holder_terminated lane=0 backend={stuck}" in successor.log()
    holder.process.resume()
    wait_until("it steps down", lambda: holder.state() == "standby", 20, 0.1)
    holder.kill()
    assert successor.stop() == 0
    world.relay().drain()
    assert world.assert_exact().delivered == 150_000


def test_P6_foreign_producer_takes_the_transactional_id(world, kafka):
    work = world.writers(seed=6).start(threads=2, pause=0.01)
    relay = world.relay().start()
    wait_until("it ships", lambda: (relay.metric("once_outbox_events_total") or 0) > 20, 30, 0.05)
    for turn in range(4):  # each of the ring's ids
        kafka.tools.run("transaction", transactional_id=transactional_id(world, turn % 2))
        before = relay.metric("once_outbox_position")
        wait_until("progress between", lambda: (relay.metric("once_outbox_position") or 0) > before, 10, 0.05)
        time.sleep(1)  # the next one comes every few seconds
    work.stop()
    assert relay.alive()
    assert relay.metric("once_outbox_producer_recycles_total") >= 2
    assert "fenced" in relay.log().lower(), "an operator must be told"
    assert relay.stop() == 0
    world.relay().drain()
    world.assert_exact()


def test_P33_slow_broker_does_not_cost_a_healthy_holder_its_lane(world, kafka):
    seconds = int(os.environ.get("SLOW_SECONDS", "20"))  # longer than the 15 s after which a waiter acts
    topic = next(iter(world.topics))
    with Proxy(kafka.nodes[0]) as proxy:
        holder = world.relay(brokers=kafka.proxied).start()
        holder.wait_state("running")
        standby = world.relay().start()
        standby.wait_state("standby")
        held = proxy.hold(PRODUCE, count=1 << 30)  # also what is sent again when the first has timed out
        world.publish(topic, "slow", key="k")
        held.wait_caught(10)
        world.publish(topic, "read ahead", key="k")  # from then on there is no room, and nothing to ask the database for
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert standby.state() == "standby", standby.log()
            time.sleep(0.5)  # the time is the case
        held.release()
        wait_until("it flows again", lambda: len(world.messages(topic)) == 2, 40, 0.3)
        assert standby.state() == "standby"
        holder.kill()
        standby.kill()
    world.relay().drain()
    world.assert_exact()
