"""F12: a topic that was deleted and made again is known by its id, where librdkafka tells it (2.3 and newer)."""
import pytest

from support.inbox import Inbox, message
from support.process import wait_until


@pytest.fixture
def box(cluster, kafka, world_name, request):
    with Inbox(cluster, kafka, world_name, partitions=1, **getattr(request, "param", {})) as made:
        yield made


def foreign(numbers):
    """Known by topic, partition and offset alone."""
    return [message(f"{n}", key=f"k{n % 5}", identity=None) for n in numbers]


def make_again(kafka, box, numbers):
    kafka.tools.run("delete_topic", topic=box.topic)
    kafka.create_topic(box.topic, 1)
    box.send(foreign(numbers))


def drain_knowing_ids(relay):
    relay.drain()
    if "topic_ids=false" in relay.log():
        pytest.skip("this once-relay was built with, or runs on, a librdkafka before 2.3: it tells no topic ids")


# More messages than before: by their offsets the first ones would be known already.
@pytest.mark.parametrize("count", [5, 50])
def test_F12_topic_made_again_is_another_source(box, kafka, count):
    box.send(foreign(range(20)))
    relay = box.relay()
    drain_knowing_ids(relay)
    make_again(kafka, box, range(100, 100 + count))
    relay.drain()
    rows = box.database.query("SELECT payload, log_offset, source, id, pos FROM app.effect ORDER BY nr")
    assert [int(bytes(row[0])) for row in rows] == [*range(20), *range(100, 100 + count)]
    assert [row[1] for row in rows] == [*range(20), *range(count)]
    topic_id = box.database.value("SELECT topic_id FROM once.consumer_topic WHERE number = 1")
    assert {row[2] for row in rows[:20]} == {f"{box.topic}/0"}
    assert {row[2] for row in rows[20:]} == {f"{box.topic}/{topic_id}/0"}
    assert rows[20][3] == f"{box.topic}/{topic_id}/0/0" and len({row[3] for row in rows}) == 20 + count
    relay.drain()  # the same topic again: nothing is new
    assert box.applied() == 20 + count


def test_F12_control_without_topic_ids_the_first_messages_are_taken_for_known_ones(box, kafka):
    box.send(foreign(range(20)))
    relay = box.relay()
    relay.env = {"ONCE_TEST_DISABLE": "topic_ids"}
    relay.drain()
    make_again(kafka, box, range(100, 150))
    relay.drain()
    assert box.applied() == 50, "README names what stays undetectable: is it detected now?"


@pytest.mark.parametrize("box", [{"store": True}], indirect=True)
def test_F12_stored_messages_of_the_old_topic_still_wait(box, kafka):
    box.send(foreign(range(20)))
    relay = box.relay()
    drain_knowing_ids(relay)
    make_again(kafka, box, range(100, 150))
    relay.drain()
    waiting = box.database.query("SELECT payload FROM once.inbox ORDER BY seq")
    assert [int(bytes(row[0])) for row in waiting] == [*range(20), *range(100, 150)]


@pytest.mark.parametrize("count", [5, 50])
def test_F12_topic_made_again_under_a_running_relay(box, kafka, count):
    box.send(foreign(range(20)))
    relay = box.relay()
    drain_knowing_ids(relay)
    relay.start()
    wait_until("the partition is claimed", lambda: "inbox_claimed" in relay.log(), 30)
    make_again(kafka, box, range(100, 100 + count))
    box.wait_applied(20 + count)
    rows = box.database.query("SELECT payload, log_offset FROM app.effect ORDER BY nr")
    assert [int(bytes(row[0])) for row in rows] == [*range(20), *range(100, 100 + count)]
    assert relay.alive() and relay.stop() == 0
