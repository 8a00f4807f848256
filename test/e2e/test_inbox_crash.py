"""once-relay inbox dies by SIGKILL at each of its crash points: nothing lost, doubled or out of order (I13)."""
import pytest

from support.inbox import Inbox
from support.relay import KILLED, crash_points

# Not on the way of messages that go well.
ON_THE_WAY = [point for point in crash_points() if point.startswith("inbox_")
              and "park" not in point and "redrive" not in point]
ASIDE = [point for point in crash_points() if point.startswith("inbox_") and ("park" in point or "redrive" in point)]


def test_P3_crash_points_are_known():
    assert len(ON_THE_WAY) >= 10 and len(ASIDE) >= 3


@pytest.mark.parametrize("point", ON_THE_WAY)
def test_I13_killed_at_each_step(cluster, kafka, world_name, point):
    with Inbox(cluster, kafka, world_name, partitions=2, max_rows=100) as box:
        box.send_numbered(600)
        relay = box.relay()
        for nth in (1, 2):
            status = relay.crash_at(point, nth)
            # Some points are passed once per assignment only; a second passage need not come.
            assert status == KILLED or nth == 2, f"exit {status}: the point was not reached\n{relay.log()}"
        relay.drain()
        box.assert_exact(600)
        box.assert_history()


@pytest.mark.parametrize("point", ASIDE)
def test_I13_killed_while_a_message_is_put_aside(cluster, kafka, world_name, point):
    with Inbox(cluster, kafka, world_name, partitions=1, max_attempts=1) as box:
        box.database.execute("INSERT INTO app.bad VALUES ('k3')")
        box.send_numbered(100, keys=10)
        relay = box.relay()
        crashed = relay.crash_at(point) == KILLED
        relay.drain()
        assert box.applied() == 90
        box.database.execute("DELETE FROM app.bad")
        box.database.execute("SELECT once.inbox_redrive('billing')")
        if not crashed:
            assert relay.start(env={"ONCE_CRASH_AT": point}).process.wait(60) == KILLED
        relay.start()
        box.wait_applied(100)
        assert relay.stop() == 0
        numbers = [int(bytes(row[0])) for row in box.database.query("SELECT payload FROM app.effect ORDER BY nr")]
        assert sorted(numbers) == list(range(100)), "each exactly once"
        held = [n for n in numbers if n % 10 == 3]
        assert held == sorted(held), "order of the held key"
        assert box.database.value("SELECT count(*) FROM once.inbox") == 0
