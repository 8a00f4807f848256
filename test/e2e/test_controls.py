"""Controls: a safety rule is switched off, the harm it prevents must show. What cannot fail proves nothing.

R1 has its control beside P8 in test_wire.py, the order of the difference beside P2 in test_capture.py.
"""
from support.relay import KILLED


def test_control_without_the_position_in_the_transaction_it_doubles(world):
    """What everybody writes first: the position behind the messages. The relay dies in between."""
    topic = next(iter(world.topics))
    off = {"ONCE_TEST_DISABLE": "position_in_transaction", "ONCE_OUTBOX_PRODUCERS": "1"}
    world.relay().drain()
    world.publish_bulk(topic, 50)
    assert world.relay(env=off).crash_at("after_commit") == KILLED
    world.relay(env=off).drain()
    report = world.check()
    assert report.count("doubled"), report
