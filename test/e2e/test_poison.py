"""Events that the broker refuses for good: parked, their key held, the rest flows; redrive is exactly once."""
import time

from support.process import wait_until


def values(world, topic):
    return [(message.key, message.value[:20]) for message in world.messages(topic)]


def test_P18_refused_event_is_parked_and_its_key_held(world):
    small = world.topic("small", 1, max_message_bytes=2000)
    world.publish(small, "a1", key="a")
    world.publish(small, "x" * 5000, key="a")
    world.publish(small, "b1", key="b")
    world.publish(small, "a3", key="a")
    relay = world.relay()
    relay.drain()
    assert values(world, small) == [(b"a", b"a1"), (b"b", b"b1")]
    assert world.database.query("SELECT convert_from(key, 'UTF8'), wanted, stamp FROM once.dead_letter ORDER BY seq") == [
        ("a", False, None), ("a", False, None)]
    world.publish(small, "a4", key="a")
    relay.drain()
    assert len(values(world, small)) == 2, "the key is still held"
    world.remember()
    world.kafka.tools.run("alter_topic", topic=small, settings={"max.message.bytes": "100000"})
    assert world.database.value("SELECT once.redrive(%s, 'a')", (small,)) == 3
    world.publish(small, "a5", key="a")
    relay.drain()
    assert [value for key, value in values(world, small) if key == b"a"] == [b"a1", b"x" * 20, b"a3", b"a4", b"a5"]
    world.assert_exact()


def test_P18_a_clock_that_is_ahead_puts_nothing_aside(world):
    """Brokers refuse a message that is an hour in their future. That is no fault of the event."""
    topic = next(iter(world.topics))
    for number in range(3):
        world.publish(topic, f"event {number}", key="k")
    world.database.execute("UPDATE once.event_0_0 SET time = time + interval '2 days'")
    world.relay().drain()
    assert world.database.value("SELECT count(*) FROM once.dead_letter") == 0
    messages = world.messages(topic)
    assert [message.value for message in messages] == [b"event 0", b"event 1", b"event 2"]
    assert all(abs(message.timestamp / 1000 - time.time()) < 600 for message in messages)
    world.assert_exact()


def test_P18_clocks_that_differ_put_nothing_aside(world):
    """A young event that is refused for its time waits until the clocks are right; an old one is what the topic refuses.
    The limit is far from the broker's own clock: it holds for the markers of transactions too, and Kafka 4.1 never gets
    over one that it refuses itself."""
    topic = next(iter(world.topics))
    alter = lambda limit: world.kafka.tools.run("alter_topic", topic=topic,
                                                settings={"message.timestamp.before.max.ms": str(limit)})
    old = world.publish(topic, "old", key="a")
    young = world.publish(topic, "young", key="b")
    world.remember()
    for event, age in ((old, "3 days"), (young, "30 min")):
        world.database.execute("UPDATE once.event_0_0 SET time = time - %s::interval WHERE id = %s", (age, event))
    alter(600_000)  # as from a host whose clock is behind
    relay = world.relay().start()
    relay.wait_state("blocked")
    assert "the clocks of this host and of the broker differ" in relay.log()
    assert world.database.query("SELECT id::text FROM once.dead_letter") == [(old,)]
    assert world.messages(topic) == []
    alter(3600_000)
    wait_until("the young one is shipped", lambda: values(world, topic) == [(b"b", b"young")], 30, 0.2)
    relay.wait_state("running")
    assert world.database.value("SELECT count(*) FROM once.dead_letter") == 1
    assert relay.stop() == 0


def test_P18_a_relay_that_has_nothing_else_to_do_redrives(world):
    """An idle relay is never told: it has to look by itself, also where its last report said all there was to say."""
    small = world.topic("small", 1, max_message_bytes=2000)
    world.publish(small, "x" * 5000, key="a")
    relay = world.relay(env={"ONCE_OUTBOX_REPORT_MS": "200"}).start()
    wait_until("it is parked", lambda: world.database.value("SELECT count(*) FROM once.dead_letter") == 1, 20)
    wait_until("that is reported", lambda: world.database.value(
        "SELECT (info ->> 'empty')::boolean FROM once.relay_report"), 20)
    world.remember()
    world.kafka.tools.run("alter_topic", topic=small, settings={"max.message.bytes": "100000"})
    assert world.database.value("SELECT once.redrive(%s, 'a')", (small,)) == 1
    wait_until("it is shipped", lambda: values(world, small) == [(b"a", b"x" * 20)], 20, 0.3)
    assert relay.stop() == 0
    world.assert_exact()


def test_P18_skip_lets_the_key_go_on(world):
    small = world.topic("small", 1, max_message_bytes=2000)
    poison = world.publish(small, "x" * 5000, key="a")
    world.publish(small, "a2", key="a")
    world.relay(env={"ONCE_OUTBOX_ON_POISON": "skip"}).drain()
    assert values(world, small) == [(b"a", b"a2")]
    world.assert_exact(skipped={poison}, waiting=1)
    redrive(world, small)
    assert values(world, small) == [(b"a", b"a2"), (b"a", b"x" * 20)]
    world.assert_exact(skipped={poison})


def redrive(world, topic):
    """The broker takes it now."""
    world.kafka.tools.run("alter_topic", topic=topic, settings={"max.message.bytes": "100000"})
    assert world.database.value("SELECT once.redrive_all()") == 1
    world.relay().drain()


def test_P18_stop_ends_and_ships_nothing_behind(world):
    small = world.topic("small", 1, max_message_bytes=2000)
    world.publish(small, "x" * 5000, key="a")
    world.publish(small, "a2", key="a")
    relay = world.relay(env={"ONCE_OUTBOX_ON_POISON": "stop"})
    assert relay.run("--until-empty") == 5
    assert values(world, small) == []
    assert world.database.value("SELECT count(*) FROM once.dead_letter") == 0


def test_P18_null_key_holds_nothing_else(world):
    small = world.topic("small", 1, max_message_bytes=2000)
    world.publish(small, "x" * 5000)
    world.publish(small, "after")
    world.relay().drain()
    assert values(world, small) == [(None, b"after")]
    world.assert_exact(waiting=1)
    redrive(world, small)
    assert values(world, small) == [(None, b"after"), (None, b"x" * 20)]
    world.assert_exact()


def test_P18_missing_topic_blocks_and_says_so(world):
    topic = f"{world.name}.later"
    world.publish(topic, "first", key="k")
    relay = world.relay().start()
    relay.wait_state("blocked")
    assert topic in relay.log()
    assert world.database.value("SELECT count(*) FROM once.dead_letter") == 0
    world.topic("later", 1)
    wait_until("it goes on by itself", lambda: len(world.messages(topic)) == 1, 30, 0.3)
    assert relay.stop() == 0
    world.assert_exact()
