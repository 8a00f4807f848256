"""Transaction ids at their edges: beyond 32 bits, and where somebody holds the oldest one."""
import os
import time

import pytest

from support.postgres import Cluster, move_near_wrap
from support.process import wait_until
from support.world import World

HELD_SECONDS = int(os.environ.get("HELD_XMIN_SECONDS", "60"))  # 30 minutes in the soak


def test_P20_transaction_ids_pass_32_bits(kafka, world_name):
    with Cluster(name="wrap").create() as cluster:
        move_near_wrap(cluster)
        cluster.start()
        world = World(cluster, kafka, world_name)
        assert 0 < 2**32 - int(world.database.value("SELECT pg_current_xact_id()::text")) < 2000
        work = world.writers(seed=20, long_transactions=True).start(threads=4)
        relay = world.relay()
        while int(world.database.value("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")) < 2**32 + 500:
            relay.start()
            time.sleep(1)  # and is killed wherever that finds it
            relay.kill()
        work.stop()
        relay.drain()
        world.remember()
        xids = [row.xid for row in world.rows.values()]
        assert min(xids) < 2**32 < max(xids)
        world.assert_exact()
        for one in world.relays:
            one.process.kill()


@pytest.mark.long
def test_P22_held_xmin_leaves_no_dead_rows(world):
    """A snapshot held for a minute beside 2,000 events a second: tables are emptied all the same, no row dies, and the
    relay is not further behind at the end than in the middle."""
    topic = next(iter(world.topics))
    world.database.execute("UPDATE once.lane SET generation_rows = 10000")
    holder = world.database.connect(autocommit=False)
    holder.set_session(isolation_level="REPEATABLE READ")
    holder.cursor().execute("SELECT pg_current_xact_id()")
    relay = world.relay(env={"ONCE_OUTBOX_REPORT_MS": "500"}).start()
    relay.wait_state("running")
    sent, began, behind = 0, time.monotonic(), []
    with world.database.session() as cursor:
        while sent < HELD_SECONDS * 2000:
            cursor.execute("SELECT count(once.publish_text(%s, 'x', key => n::text)) FROM generate_series(1, 200) n", (topic,))
            sent += 200
            behind.append(sent - (relay.metric("once_outbox_events_total") or 0))
            time.sleep(max(0.0, began + sent / 2000 - time.monotonic()))
    wait_until("all is shipped", lambda: relay.metric("once_outbox_events_total") == sent, 30, 0.1)
    assert relay.metric("once_outbox_trimmed_total") >= sent // 10000 - 4
    assert relay.stop() == 0
    third = len(behind) // 3
    middle, end = sorted(behind[third:2 * third])[third // 2], sorted(behind[-third:])[third // 2]
    assert end <= 2 * middle + 2000, f"{middle} behind in the middle, {end} at the end"
    held = world.database.query("SELECT age(backend_xmin) FROM pg_stat_activity WHERE pid = %s", (holder.info.backend_pid,))
    assert held[0][0] > sent // 200, "the oldest transaction was held all the time"
    dead = world.database.query("SELECT relname, n_dead_tup, n_tup_upd, n_tup_del FROM pg_stat_user_tables WHERE schemaname = "
                                "'once' AND relname LIKE 'event%%' AND n_dead_tup + n_tup_upd + n_tup_del > 0")
    assert dead == []
    assert len(world.messages(topic)) == sent
    holder.close()
