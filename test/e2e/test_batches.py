"""A batch that cannot go through as it is: the next attempt is another one. Topics with limits, slow links, full queues, many topics."""
import base64

import pytest
from support.kafka import Kafka
from support.process import wait_until
from support.proxy import METADATA, Proxy
from support.world import World

DRAIN_S = 120


def parked(world):
    return world.database.value("SELECT count(*) FROM once.dead_letter")


def encoded(data):
    return base64.b64encode(data).decode()


def logged(relay, name):
    """What a relay logs outlives it."""
    return relay.log().count(name)


@pytest.mark.parametrize("count, size", [(20_000, 300), (2_000, 5_000), (600, 20_000)])
def test_RE5b_US1_a_topic_limit_below_the_batch_is_learned(world, count, size):
    """Brokers judge the request: nothing has to be searched for."""
    small = world.topic("small", 4, max_message_bytes=100_000)
    world.publish_bulk(small, count, size=size)
    relay = world.relay()
    relay.drain(DRAIN_S)
    assert parked(world) == 0
    assert logged(relay, "searching_refused_message") == 0
    assert logged(relay, "transaction_irregular") == 0, "the limit was asked for before anything was sent"
    assert world.assert_exact().delivered == count


def test_RE5b_a_limit_that_is_lowered_meanwhile_is_learned(world):
    topic = next(iter(world.topics))
    relay = world.relay().start()
    relay.wait_state("running")
    world.publish(topic, "first", key="k")
    wait_until("it is shipped", lambda: len(world.messages()) == 1, 30, 0.2)
    world.kafka.tools.run("alter_topic", topic=topic, settings={"max.message.bytes": "50000"})
    world.publish_bulk(topic, 5_000, size=1_000)
    wait_until("all is shipped", lambda: len(world.messages()) == 5_001, 60, 0.5)
    assert parked(world) == 0
    assert logged(relay, "transaction_irregular") <= 2, relay.log()[-3000:]
    assert relay.stop() == 0
    world.assert_exact()


def test_RE5b_what_is_too_large_alone_is_put_aside_and_what_fits_is_not(world):
    small = world.topic("small", 1, max_message_bytes=30_000)
    for number in range(300):
        world.publish(small, "x" * (31_000 if number % 10 == 0 else 5_000), key=f"k{number}")
    relay = world.relay()
    relay.drain(DRAIN_S)
    assert parked(world) == 30
    assert logged(relay, "transaction_irregular") == 0
    world.assert_exact(waiting=30)


def test_RE5a_null_keys_for_a_compacted_topic_cost_the_others_nothing(world):
    compacted = world.topic("compacted", 1, cleanup_policy="compact")
    topic = next(iter(world.topics))
    for start in range(0, 400, 100):
        world.database.execute(
            "SELECT count(once.publish_text(CASE n %% 2 WHEN 0 THEN %s ELSE %s END, 'p', key => CASE n %% 2 WHEN 1 THEN n::text END)) "
            "FROM generate_series(%s, %s) n", (compacted, topic, start, start + 99))
    world.publish(compacted, "with a key", key="k")
    relay = world.relay()
    relay.drain(DRAIN_S)
    assert parked(world) == 200
    assert logged(relay, "transaction_irregular") == 0
    assert len(world.messages(topic)) == 200 and len(world.messages(compacted)) == 1
    world.assert_exact(waiting=200)


def test_RE5a_a_topic_that_becomes_compacted_meanwhile(world):
    """What the broker refuses without a culprit is explained by what the topic takes now."""
    topic = world.topic("later_compacted", 2)
    relay = world.relay().start()
    relay.wait_state("running")
    world.publish(topic, "first", key="k")
    wait_until("it is shipped", lambda: len(world.messages(topic)) == 1, 30, 0.2)
    world.kafka.tools.run("alter_topic", topic=topic, settings={"cleanup.policy": "compact"})
    world.database.execute("SELECT count(once.publish_text(%s, 'p', key => CASE WHEN n %% 10 > 0 THEN n::text END)) "
                           "FROM generate_series(1, 1000) n", (topic,))
    wait_until("the rest is shipped", lambda: len(world.messages(topic)) == 901, 60, 0.5)
    assert parked(world) == 100
    assert logged(relay, "transaction_irregular") <= 3, relay.log()[-3000:]
    assert relay.stop() == 0
    world.assert_exact(waiting=100)


@pytest.mark.long
def test_RE3_a_slow_link_gets_smaller_transactions(world, kafka):
    """Ten seconds' worth in one transaction would never go through within three."""
    topic = next(iter(world.topics))
    with Proxy(kafka.nodes[0]) as proxy:
        proxy.bytes_per_second = 500_000
        world.publish_bulk(topic, 5_000, size=1_000)
        relay = world.relay(brokers=kafka.proxied, env={"ONCE_OUTBOX_TRANSACTION_TIMEOUT_MS": "3000"})
        relay.drain(DRAIN_S)
        assert logged(relay, "transaction_irregular") <= 8, relay.log()[-3000:]
    assert world.assert_exact().delivered == 5_000


def test_RE3b_a_queue_that_is_smaller_than_a_batch_is_waited_for(world):
    topic = next(iter(world.topics))
    world.publish_bulk(topic, 30_000)
    relay = world.relay("--set", "kafka.queue.buffering.max.messages=1000")
    relay.drain(DRAIN_S)
    assert logged(relay, "transaction_irregular") == 0
    assert world.assert_exact().delivered == 30_000


@pytest.mark.long
def test_RE3c_RE9b_many_topics_are_asked_for_at_once(cluster, kafka, world_name):
    world = World(cluster, kafka, world_name)
    try:
        topics = [f"{world.name}.t{number}" for number in range(200)]
        for name in topics:
            kafka.tools.run("create_topic", topic=name, partitions=1, settings={})
        world.topics = {topic: 1 for topic in topics}
        wait_until("brokers know them", lambda: set(topics) <= set(kafka.tools.run("list_topics")), 60, 0.2)
        world.database.execute("SELECT count(once.publish_text(%s || '.t' || n, 'p', key => 'k')) FROM generate_series(0, 199) n",
                               (world.name,))
        with Proxy(kafka.nodes[0]) as proxy:
            proxy.delay(0.05, METADATA, "response")
            relay = world.relay(brokers=kafka.proxied)
            relay.drain(DRAIN_S)
            assert proxy.count(METADATA) < 60, "one request for all topics, not one each"
        assert world.assert_exact().delivered == 200
    finally:
        world.close()


def test_RE4_rearm_none_leaves_out_what_was_there_when_it_was_called(world):
    topic = next(iter(world.topics))
    world.publish(topic, "before", key="k")
    relay = world.relay()
    relay.drain()
    world.publish(topic, "there", key="k")
    world.database.execute("SELECT once.rearm(0, 'none')")
    world.publish(topic, "after", key="k")
    relay.drain()
    assert [message.value for message in world.messages(topic)] == [b"before", b"after"]
    assert "passed_over lane=0 events=1" in relay.log() or "passed_over lane=0 events=2" in relay.log(), relay.log()


def test_RE12_a_refusal_that_will_not_pass_ends_with_a_hint(cluster, world_name):
    with Kafka(settings={"transaction.max.timeout.ms": 5000}) as strict:
        world = World(cluster, strict, world_name)
        try:
            relay = world.relay()
            assert relay.run("--until-empty", timeout=30) == 5
            assert "transaction.max.timeout.ms" in relay.log() and "transaction_timeout_ms" in relay.log()
            world.publish(next(iter(world.topics)), "x", key="k")
            assert relay.run("--until-empty", env={"ONCE_OUTBOX_TRANSACTION_TIMEOUT_MS": "5000"}) == 0
            world.assert_exact()
        finally:
            world.close()


@pytest.mark.long
def test_RE14_another_cluster_under_a_running_relay_is_refused(world, kafka):
    """The same address, the same topics with the newest position, another cluster."""
    topic = next(iter(world.topics))
    with Kafka() as other:
        for name, partitions in world.topics.items():
            other.create_topic(name, partitions)
        other.create_topic(world.position_topic, 1, cleanup_policy="compact")
        proxy = Proxy(kafka.nodes[0])
        try:
            relay = world.relay(brokers=kafka.proxied).start()
            relay.wait_state("running")
            world.publish(topic, "here", key="k")
            wait_until("it is shipped", lambda: len(world.messages(topic)) == 1, 30, 0.2)
            record = world.positions()[-1]
            other.tools.run("produce", topic=world.position_topic, key=encoded(record.key), value=encoded(record.value), partition=0)
            proxy.target = ("127.0.0.1", other.nodes[0].proxied_port)
            proxy.cut_all()
            with Proxy(other.nodes[0]):
                world.publish(topic, "there", key="k")
                assert relay.process.wait(90) == 6, relay.log()[-3000:]
            assert "another Kafka cluster" in relay.log()
            assert other.read(topic) == []
        finally:
            proxy.close()
    relay = world.relay()
    relay.drain()
    world.assert_exact()
