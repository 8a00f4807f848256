"""RE16: extension and relay of two releases. The ranges of protocols that both speak are compared when a session is opened and while
it works, because ALTER EXTENSION UPDATE comes under a running relay."""
import pytest

from support.inbox import Inbox
from support.process import wait_until
from support.relay import run_relay

MISMATCH = 3
MEETS = [(2, 3), (1, 2), (1, 7)]
DOES_NOT = [(3, 4), (1, 1), (3, 2)]


def speak(database, oldest, newest):
    """What an update of the extension does."""
    database.execute("CREATE OR REPLACE FUNCTION once.protocol(OUT oldest int, OUT newest int) LANGUAGE sql STABLE "
                     f"SET search_path = pg_catalog, pg_temp AS 'SELECT {oldest}, {newest}'")


def refusal(log):
    lines = [line for line in log.splitlines() if line.startswith("once-relay: ")]
    assert len(lines) == 1, log
    return lines[0]


@pytest.mark.parametrize("oldest, newest", MEETS)
def test_RE16_ranges_that_meet(world, oldest, newest):
    speak(world.database, oldest, newest)
    world.publish(next(iter(world.topics)))
    world.relay().drain()
    assert run_relay("check", "--database", world.database.dsn(), "--brokers", world.kafka.brokers)[0] != MISMATCH


@pytest.mark.parametrize("oldest, newest", DOES_NOT)
def test_RE16_ranges_that_do_not_meet_are_refused_at_the_start(world, oldest, newest):
    speak(world.database, oldest, newest)
    relay = world.relay()
    assert relay.run() == MISMATCH
    assert "speaks protocol" in refusal(relay.log())


@pytest.mark.parametrize("idle", [True, False], ids=["idle", "shipping"])
def test_RE16_an_update_under_a_running_relay(world, idle):
    topic = next(iter(world.topics))
    with world.relay() as relay:
        relay.start().wait_state("running")
        speak(world.database, 2, 3)
        world.publish(topic)
        wait_until("an event is shipped after an update that the relay understands",
                   lambda: relay.metric("once_outbox_events_total") == 1, 20)
        speak(world.database, 3, 3)
        if not idle:
            world.publish(topic)
        assert relay.process.wait(30) == MISMATCH
        assert "speaks protocol 3, this program 2" in refusal(relay.log())
    again = world.relay()
    assert again.run() == MISMATCH
    speak(world.database, 2, 3)
    again.drain()


def test_RE16_an_update_under_a_standby(world):
    with world.relay() as holder, world.relay() as standby:
        holder.start().wait_state("running")
        standby.start().wait_state("standby")
        speak(world.database, 3, 3)
        assert {holder.process.wait(30), standby.process.wait(30)} == {MISMATCH}


def test_RE16_an_update_under_a_running_inbox(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name) as box:
        box.send_numbered(10)
        with box.relay() as relay:
            relay.start()
            wait_until("the first messages are there", lambda: box.database.query("SELECT count(*) FROM app.effect")[0][0] == 10, 30)
            speak(box.database, 2, 3)
            box.send_numbered(10, first=10)
            wait_until("an update that the relay understands", lambda: box.database.query("SELECT count(*) FROM app.effect")[0][0] == 20, 30)
            speak(box.database, 3, 3)
            box.send_numbered(10, first=20)
            assert relay.process.wait(30) == MISMATCH
            assert "speaks protocol 3" in refusal(relay.log())
            assert box.database.query("SELECT count(*) FROM app.effect") == [(20,)], "nothing is written under another protocol"
        speak(box.database, 2, 2)
        box.relay().drain()
        box.assert_exact(30)
