"""No wait without an end: databases that vanish, fall silent, or keep somebody waiting; the table of waits is in relay/README."""
import time

import pytest
from support.database_proxy import DatabaseProxy
from support.inbox import Inbox
from support.postgres import RELAY_ROLE
from support.process import wait_until
from support.relay import run_relay
from support.vanishing_host import VanishingHost

DATABASE = 4
STOP_S = 10 + 3  # outbox.stop_ms and the slack of the last resort


@pytest.fixture
def wire(cluster):
    made = DatabaseProxy(cluster.port)
    yield made
    made.close()


def stop_in_time(relay):
    began = time.monotonic()
    status = relay.stop(timeout=STOP_S + 7)
    assert status == 0 and time.monotonic() - began < STOP_S, (status, time.monotonic() - began, relay.log()[-2000:])


def wait_shipped(world, count, timeout=60):
    wait_until(f"{count} messages", lambda: len(world.messages()) >= count, timeout, 0.2)


@pytest.mark.long
@pytest.mark.skipif(not VanishingHost.possible(), reason="needs a network namespace")
def test_RE1_the_host_of_the_database_vanishes(world):
    """An idle relay waits for the server's answer: nothing of its own is unacknowledged, so only keepalives find out."""
    with VanishingHost(f"{world.cluster.folder}/.s.PGSQL.{world.cluster.port}") as host:
        relay = world.relay(database=host.dsn(world.database.name, RELAY_ROLE)).start()
        relay.wait_state("running")
        host.vanish()
        relay.wait_log("session_lost", 30)
        wait_until("it is not ready", lambda: relay.get("/readyz")[0] == 503, 10)
        assert relay.get("/healthz")[0] == 200
        host.return_()
        world.publish(f"{world.name}.orders", "x", "k")
        relay.wait_state("running", 60)
        wait_shipped(world, 1)
        host.vanish()
        stop_in_time(relay)
    world.assert_exact()


@pytest.mark.long
def test_RE2_a_database_that_is_silent_is_left(world, wire):
    """It accepts and never answers; when it speaks again the relay goes on by itself."""
    relay = world.relay(database=wire.dsn(world.database.name, RELAY_ROLE)).start()
    relay.wait_state("running")
    wire.stall()
    relay.wait_log("has not answered for", 30)
    assert relay.get("/healthz")[0] == 200 and relay.get("/readyz")[0] == 503
    world.publish(f"{world.name}.orders", "x", "k")
    wire.flow()
    wait_shipped(world, 1)
    wire.stall()
    stop_in_time(relay)
    world.assert_exact()


@pytest.mark.long
def test_RE2_the_next_host_is_tried(world, wire):
    silent = DatabaseProxy(world.cluster.port)
    dsn = wire.dsn(world.database.name, RELAY_ROLE).replace(f"port={wire.port}", f"port={silent.port},{wire.port}").replace(
        "host=127.0.0.1", "host=127.0.0.1,127.0.0.1")
    relay = world.relay(database=dsn).start()
    relay.wait_state("running")
    silent.stall()
    world.publish(f"{world.name}.orders", "x", "k")
    wait_shipped(world, 1, 90)
    stop_in_time(relay)
    silent.close()
    world.assert_exact()


def test_RE2_a_standby_of_a_silent_database_is_alive_and_stops(world, wire):
    world.relay().start().wait_state("running")
    standby = world.relay(database=wire.dsn(world.database.name, RELAY_ROLE)).start()
    standby.wait_state("standby")
    wire.stall()
    time.sleep(12)  # longer than http.stale_ms
    assert standby.get("/healthz")[0] == 200, standby.get("/healthz")
    stop_in_time(standby)


@pytest.mark.parametrize("command", ["status", "check"])
def test_RE2_a_command_that_looks_ends(world, wire, command):
    wire.stall()
    status, output = run_relay(command, "--database", wire.dsn(world.database.name, RELAY_ROLE), "--brokers", world.kafka.brokers,
                               timeout=60)
    assert status == DATABASE and "could not connect" in output, output


@pytest.mark.long
def test_RE2_an_inbox_leaves_a_silent_database(cluster, kafka, world_name, wire):
    """While a handler runs, which may take as long as it likes: the server is asked beside it whether it is there."""
    with Inbox(cluster, kafka, world_name, handler="app.slow") as inbox:
        with inbox.database.session() as holder:
            holder.execute("SELECT pg_advisory_lock(4711)")
            relay = inbox.relay()
            relay.dsn = wire.dsn(inbox.database.name, RELAY_ROLE)
            relay.start()
            inbox.send_numbered(10)
            inbox.database.wait_for("the handler waits", "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            wire.stall()
            relay.wait_log("inbox_database_lost", 45)
            assert relay.get("/healthz")[0] == 200 and relay.get("/readyz")[0] == 503
            wire.flow()
            holder.execute("SELECT pg_advisory_unlock(4711)")
        inbox.wait_applied(10)
        wire.stall()
        stop_in_time(relay)
        inbox.assert_exact(10)


def test_RE13_the_role_s_time_outs_do_not_end_an_inbox(cluster, kafka, world_name):
    """Waiting for another member's offset takes longer by design."""
    with Inbox(cluster, kafka, world_name) as inbox:
        inbox.database.execute(f'ALTER ROLE {RELAY_ROLE} IN DATABASE "{inbox.database.name}" SET statement_timeout = \'1s\'')
        inbox.database.execute(f'ALTER ROLE {RELAY_ROLE} IN DATABASE "{inbox.database.name}" SET lock_timeout = \'1s\'')
        inbox.send_numbered(5)
        relay = inbox.relay().start()
        inbox.wait_applied(5)
        with inbox.database.session() as holder:
            holder.execute("BEGIN; SELECT next FROM once.consumer_offset FOR UPDATE")
            inbox.send_numbered(5, first=5)
            time.sleep(4)  # four times the timeout
            assert relay.alive() and inbox.applied() == 5
            holder.execute("ROLLBACK")
        inbox.wait_applied(10)
        assert relay.stop() == 0
        inbox.assert_exact(10)


def test_RE17_an_idle_inbox_keeps_its_session(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name) as inbox:
        inbox.database.execute(f'ALTER ROLE {RELAY_ROLE} IN DATABASE "{inbox.database.name}" SET idle_session_timeout = \'1s\'')
        relay = inbox.relay().start()
        inbox.send_numbered(5)
        inbox.wait_applied(5)
        time.sleep(3)  # three times the timeout
        inbox.send_numbered(5, first=5)
        inbox.wait_applied(10)
        assert "inbox_database_lost" not in relay.log()
        assert relay.stop() == 0


def test_US12_a_handler_that_leaves_a_role_behind(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, handler="app.tenant", max_rows=50) as inbox:
        inbox.database.execute(f"""
            DO $$ BEGIN CREATE ROLE once_tenant; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
            GRANT once_tenant TO {RELAY_ROLE};
            CREATE FUNCTION app.tenant(messages once.message[]) RETURNS void LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM app.apply(messages);
                PERFORM set_config('role', 'once_tenant', false);
            END $$;
            GRANT EXECUTE ON FUNCTION app.tenant TO {RELAY_ROLE}""")
        inbox.send_numbered(300)
        relay = inbox.relay().start()
        inbox.wait_applied(300)
        assert relay.stop() == 0
        inbox.assert_exact(300)


@pytest.mark.parametrize("table", ["once.scheduled", "once.dead_letter", "once.relay_report"])
def test_RE18_a_lock_on_a_table_that_no_event_needs_keeps_no_event(world, table):
    relay = world.relay().start()
    relay.wait_state("running")
    world.publish(f"{world.name}.orders", "first", "k")
    wait_shipped(world, 1)
    with world.database.session() as holder:
        holder.execute(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        count = 1
        while time.monotonic() < began + 8:
            count += 1
            world.publish(f"{world.name}.orders", "x", "k")
            wait_shipped(world, count, 3)
        assert "session_lost" not in relay.log()
        holder.execute("ROLLBACK")
    assert "upkeep_failed" in relay.log()
    assert relay.stop() == 0
    world.assert_exact()
