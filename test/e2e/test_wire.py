"""Faults between relay and broker: answers that are lost, requests that arrive late, brokers that go away."""
import os
import time

import pytest

from support.kafka import Kafka
from support.process import RELAY_MB, most_memory, wait_until
from support.proxy import END_TXN, PRODUCE, Proxy
from support.report import Report
from support.transaction_checker import check_ends
from support.world import World

EVENTS = 15_000
HELD_SECONDS = float(os.environ.get("HELD_END_TXN_SECONDS", "0"))  # as long as it takes; 60 in the long run
TIMEOUTS = ("--set", "kafka.socket.timeout.ms=2000")


def settle(world, relay):
    wait_until("all is shipped", lambda: relay.metric("once_outbox_backlog_events") == 0, 60, 0.2)
    assert relay.stop() == 0, relay.log()[-2000:]
    world.relay().drain()


def test_P7_lost_reply_of_EndTxn(world, kafka):
    work = world.writers(seed=7).start(threads=2, pause=0.01)
    with Proxy(kafka.nodes[0]) as proxy:
        relay = world.relay(*TIMEOUTS, brokers=kafka.proxied).start()
        wait_until("it ships", lambda: (relay.metric("once_outbox_events_total") or 0) > 20, 30, 0.05)
        for action in ("drop", "cut"):
            before = relay.metric("once_outbox_producer_recycles_total")
            lost = proxy.rule(action, END_TXN, "response")
            lost.wait_caught(10)
            wait_until("a new producer", lambda: (relay.metric("once_outbox_producer_recycles_total") or 0) > before,
                       30, 0.1)
        work.stop()
        settle(world, relay)
    world.assert_exact()
    report = Report()
    twice = check_ends(proxy.transactional, report)
    assert report.ok and twice >= 2, f"{report}, {twice} were ended twice"


def late_EndTxn(world, kafka, producers, seconds=0.0, **env):
    """Holds EndTxn of one transaction until the client sent it again and went on, and lets it loose when the next one
    of the same producer has its messages at the broker and not yet its position record; then the relay dies."""
    topic = next(iter(world.topics))
    record = world.position_topic.encode()
    start = f"{world.incarnation()}/0/start".encode()
    with Proxy(kafka.nodes[0]) as proxy:
        relay = world.relay(*TIMEOUTS, "--set", f"outbox.producers={producers}", brokers=kafka.proxied, env=env).start()
        world.publish(topic, "first", key="k")
        wait_until("it ships", lambda: (relay.metric("once_outbox_events_total") or 0) == 1, 30, 0.05)
        held, since = proxy.hold(END_TXN), time.monotonic()
        sent = proxy.count(END_TXN)
        world.publish(topic, "second", key="k")
        held.wait_caught(10)
        wait_until("EndTxn is sent again and the commit acknowledged",
                   lambda: proxy.count(END_TXN) > sent + 1 and relay.metric("once_outbox_events_total") == 2, 40, 0.05)
        for turn in range(1, producers):  # of the others in the ring
            world.publish(topic, f"between {turn}", key="k")
            wait_until("it ships", lambda: relay.metric("once_outbox_events_total") == 2 + turn, 30, 0.05)
        position = proxy.rule("drop", PRODUCE, count=1 << 30, where=lambda frame: record in frame and start not in frame)
        world.publish(topic, "third", key="k")
        position.wait_caught(30)
        wait_until("its message is with the broker, not committed",
                   lambda: len(kafka.read(topic, isolation="read_uncommitted")) == 2 + producers, 10)
        time.sleep(max(0.0, seconds - (time.monotonic() - since)))
        held.release()
        time.sleep(1.5)  # time for the late EndTxn to do its harm
        relay.kill()
    world.relay().drain()
    report = world.check()
    assert check_ends(proxy.transactional, report) > 0, "no transaction was ended twice"
    return report


@pytest.mark.parametrize("producers", [1, 2])
def test_P8_late_EndTxn_ends_no_later_transaction(world, kafka, producers):
    report = late_EndTxn(world, kafka, producers, HELD_SECONDS)
    assert report.ok, report
    assert report.delivered == 2 + producers


@pytest.mark.parametrize("producers", [1, 2])
def test_P8_control_without_R1_the_same_fault_tears(world, kafka, producers):
    """Proof that the test above can fail."""
    report = late_EndTxn(world, kafka, producers, ONCE_TEST_DISABLE="r1")
    assert report.count("doubled") or report.count("torn"), report
    assert "I8" in report.invariants(), report


def test_P25_slow_broker_bounds_the_queue_and_aborts_nothing(world, kafka):
    topic = next(iter(world.topics))
    with Proxy(kafka.nodes[0]) as proxy:
        relay = world.relay(brokers=kafka.proxied).start()
        relay.wait_state("running")
        slow = proxy.delay(0.3, PRODUCE, "response")
        world.publish_bulk(topic, EVENTS, size=8000)  # 120 MB: a queue without bounds would show
        wait_until("it ships", lambda: (relay.metric("once_outbox_events_total") or 0) > 0, 60, 0.1)
        time.sleep(3)  # under load: the memory of this time is looked at
        memory = most_memory(relay.process.pid)
        slow.left = 0
        wait_until("all is shipped", lambda: relay.metric("once_outbox_events_total") == EVENTS, 60, 0.2)
        assert memory < RELAY_MB, f"{memory:.0f} MB"
        assert relay.metric("once_outbox_transactions_total", outcome="aborted") == 0
        assert relay.stop() == 0
    assert world.assert_exact().delivered == EVENTS


@pytest.fixture(scope="module")
def three_brokers():
    with Kafka(3, heap="320m", settings={"transactional.id.expiration.ms": 9000,
                                         "transaction.remove.expired.transaction.cleanup.interval.ms": 1000}) as running:
        yield running


@pytest.mark.long
def test_P9_brokers_restart_one_by_one_and_min_isr_is_not_met(cluster, three_brokers, world_name):
    seconds = int(os.environ.get("MIN_ISR_SECONDS", "8"))
    kafka = three_brokers
    world = World(cluster, kafka, world_name)
    try:
        work = world.writers(seed=9).start(threads=2, pause=0.05)
        relay = world.relay().start()
        coordinators = set()
        for node in kafka.nodes:
            shipped = wait_until("it ships", lambda: relay.metric("once_outbox_events_total"), 60, 0.1)
            coordinators.add(coordinator(kafka, world))
            node.stop()
            wait_until("two brokers carry on",
                       lambda: (relay.metric("once_outbox_events_total") or 0) > shipped + 20, 60, 0.1)
            coordinators.add(coordinator(kafka, world))
            node.start()
            wait_until("all replicas are in sync", lambda: in_sync(kafka, world), 60, 0.5)
        assert len(coordinators) > 1, "the coordinator moved"
        bulk = world.topic("bulk", 2)
        for topic in world.topics:
            kafka.tools.run("alter_topic", topic=topic, settings={"min.insync.replicas": "3"})
        kafka.nodes[2].stop()
        stands_still(world, relay, bulk, seconds)
        kafka.nodes[2].start()
        work.stop()
        settle(world, relay)
        world.assert_exact()
    finally:
        world.close()


def test_P6_an_idle_relay_goes_on_when_its_transactional_ids_have_expired(cluster, three_brokers, world_name):
    """A week by default, and an idle outbox writes nothing."""
    world = World(cluster, three_brokers, world_name)
    try:
        ours = lambda: [each["id"] for each in three_brokers.tools.run("transactions") if world.incarnation() in each["id"]]
        relay = world.relay().start()
        for number in range(4):  # each producer of the ring has shipped
            world.publish(f"{world.name}.orders", f"{number}", key="k")
            wait_until("it ships", lambda: relay.metric("once_outbox_events_total") == number + 1, 30, 0.05)
        assert len(ours()) == 2
        wait_until("brokers have forgotten them", lambda: ours() == [], 40, 0.5)
        for number in range(4):
            world.publish(f"{world.name}.orders", f"later {number}", key="k")
        wait_until("it goes on by itself", lambda: relay.metric("once_outbox_events_total") == 8, 60, 0.1)
        assert relay.metric("once_outbox_producer_recycles_total") >= 1, "nothing has expired"
        assert relay.stop() == 0, relay.log()
        assert world.assert_exact().delivered == 8
    finally:
        world.close()


def stands_still(world, relay, bulk, seconds):
    """Back-pressure: what is published meanwhile waits in its tables, the relay lives and grows no further."""
    until = time.monotonic() + seconds
    wait_until("nothing is acknowledged", lambda: still(world), 30)
    memory = most_memory(relay.process.pid)
    world.publish_bulk(bulk, 50_000)
    time.sleep(max(2.0, until - time.monotonic()))
    assert still(world) and relay.alive(), relay.log()[-2000:]
    assert relay.metric("once_outbox_backlog_events") > 0
    assert most_memory(relay.process.pid) < memory + RELAY_MB / 2


def still(world):
    before = len(world.messages())
    time.sleep(1)  # nothing came in this time
    return len(world.messages()) == before


def coordinator(kafka, world):
    return kafka.tools.run("coordinator", transactional_id=f"once-{world.incarnation()}-0-0")


def in_sync(kafka, world):
    return all(partition["isr"] == 3 for topic in [*world.topics, world.position_topic, "__transaction_state"]
               for partition in kafka.tools.run("describe_topic", topic=topic)["partitions"])
