"""once-relay inbox between neighbours that fail: what one message, one partition or one member suffers stops nobody else, and
health says what is."""
import json
import time

import pytest

from support.inbox import Inbox, message
from support.process import wait_until


def payloads(box, order="nr"):
    return [bytes(row[0]).decode() for row in box.database.query(f"SELECT payload FROM app.effect ORDER BY {order}")]


def test_RE7_an_idle_inbox_behind_transactions_is_ready(cluster, kafka, world_name):
    """Markers and aborted records have offsets and are no work."""
    with Inbox(cluster, kafka, world_name, partitions=2) as box:
        relay = box.relay("--set", "http.stale_ms=2000").start()
        for n in range(4):
            kafka.tools.run("transaction", transactional_id=f"{box.name}-{n}", topic=box.topic, key="aw==", value=message(str(n))["value"])
        kafka.tools.run("transaction", transactional_id=f"{box.name}-x", topic=box.topic, key="aw==", value=message("never")["value"], open=True)
        kafka.tools.run("transaction", transactional_id=f"{box.name}-x")  # fences, so aborts it
        box.wait_applied(4)
        ends = kafka.ends(box.topic)
        wait_until("lag tools hear of the end", lambda: all(
            (kafka.tools.run("group_offsets", group=box.entry["group"]).get(f"{topic}/{partition}") or [0])[0] == end
            for (topic, partition), end in ends.items() if end), 30, 0.3)
        time.sleep(3)  # longer than what counts as stale
        assert relay.get("/readyz")[0] == 200, relay.get("/readyz")
        assert relay.metric("once_inbox_lag_messages") == 0
        assert relay.stop() == 0


def test_RE8_a_topic_that_is_made_later_makes_ready(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name) as box:
        late = box.topic + ".late"
        relay = box.relay("--set", "kafka.topic.metadata.refresh.interval.ms=1000", "--set", "kafka.allow.auto.create.topics=false",
                          topic=late).start()
        wait_until("blocked", lambda: "blocked" in relay.get("/readyz")[1], 60, 0.2)
        kafka.create_topic(late, 2)
        wait_until("ready without a message", lambda: relay.get("/readyz")[0] == 200, 60, 0.3)
        assert relay.stop() == 0


def test_RE11_a_handler_at_work_is_not_ended_by_the_next_owner(cluster, kafka, world_name):
    """It has outlived max.poll.interval.ms: the group gives its partition to another member, which waits for the commit."""
    with Inbox(cluster, kafka, world_name, partitions=1, handler="app.slow", max_rows=100) as box:
        interval = ["--set", "kafka.max.poll.interval.ms=6000"]
        with box.database.cluster.session(box.database.name, autocommit=False) as gate:
            gate.execute("SELECT pg_advisory_xact_lock(4711)")
            first, second = box.relay(*interval), box.relay(*interval)
            first.start()
            box.send_numbered(300)
            box.database.wait_for("the handler waits", "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'advisory'")
            worker = box.database.value("SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory'")
            second.start()
            second.wait_log("inbox_partition_busy", timeout=60)
            wait_until("longer than a hung one is waited for", lambda: box.database.value(
                "SELECT clock_timestamp() - state_change > interval '17 s' FROM pg_stat_activity WHERE pid = %s", (worker,)), 60, 0.5)
            assert box.database.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", (worker,)) == 1
            gate.connection.rollback()
        box.wait_applied(300, timeout=90)
        assert "terminating connection" not in first.log() + second.log()
        assert first.stop() == 0 and second.stop() == 0
        box.assert_exact(300)


def test_RE11_a_batch_does_not_outlive_the_interval(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=1, handler="app.weary") as box:
        box.database.execute("""CREATE FUNCTION app.weary(m once.message[]) RETURNS void LANGUAGE plpgsql AS $$
            BEGIN PERFORM app.apply(m); PERFORM pg_sleep(0.02 * cardinality(m)); END $$""")
        box.send_numbered(900)  # one batch would take 18 s
        relays = [box.relay("--set", "kafka.max.poll.interval.ms=6000").start() for _ in range(3)]
        box.wait_applied(900, timeout=120)
        logs = "".join(relay.log() for relay in relays)
        assert "inbox_batch_limited" in logs, "it says so"
        assert "maximum poll interval" not in logs.lower()
        assert [relay.stop() for relay in relays] == [0, 0, 0]
        box.assert_exact(900)


def test_RE13_statement_timeout_of_the_role_and_a_cancelled_statement(cluster, kafka, world_name):
    """The role's limit is for the handler. Our own statements wait as long as they must, and one that somebody cancels comes again."""
    with Inbox(cluster, kafka, world_name, partitions=1, max_attempts=1, handler="app.drowsy") as box:
        box.database.execute("""CREATE FUNCTION app.drowsy(m once.message[]) RETURNS void LANGUAGE plpgsql AS $$
            BEGIN PERFORM app.apply(m); IF 'sleepy' = ANY (SELECT key FROM unnest(m)) THEN PERFORM pg_sleep(30); END IF; END $$""")
        box.database.execute(f"ALTER ROLE relay IN DATABASE {box.database.name} SET statement_timeout = '700ms'")
        box.send_numbered(10)
        relay = box.relay()
        relay.drain()
        with box.database.cluster.session(box.database.name, autocommit=False) as other:
            other.execute("UPDATE once.consumer_offset SET next = next")  # somebody has the offset's row for a while
            box.send_numbered(10, first=10)
            relay.start()
            box.database.wait_for("ours waits", "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'relay' AND wait_event_type = 'Lock'")
            box.database.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'relay' AND datname = current_database()")
            time.sleep(1.5)  # no condition: what must not happen is that it ends
            assert relay.alive(), relay.log()
            other.connection.rollback()
        box.wait_applied(20)
        box.send([message("sleeps", key="sleepy"), message("awake", key="a")])
        box.wait_applied(21)
        wait_until("parked", lambda: box.database.query("SELECT key, error LIKE '%%57014%%' FROM once.inbox") == [("sleepy", True)], 30)
        assert relay.stop() == 0


REFUSALS = ["08001", "08006", "53200", "53300", "53400", "55P03", "57P03", "58P01", "58030", "25006"]


def test_US7_what_a_handler_meets_for_one_message_stops_no_other(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=3) as box:
        for state in REFUSALS:
            box.database.execute("INSERT INTO app.bad VALUES (%s, %s)", (f"bad{state}", state))
        box.send([message(f"{n}", key=f"k{n}", partition=n % 3) for n in range(90)])
        box.send([message(state, key=f"bad{state}", partition=0) for state in REFUSALS])
        box.send([message(f"{n}", key=f"k{n}", partition=n % 3) for n in range(90, 180)])
        relay = box.relay().start()
        box.wait_applied(180)
        wait_until("put aside, to come again", lambda: box.database.value(
            "SELECT count(*) FROM once.inbox WHERE state = 'ready' AND error IS NOT NULL") == len(REFUSALS), 30)
        box.database.execute("DELETE FROM app.bad")
        box.wait_applied(180 + len(REFUSALS), timeout=60)
        assert relay.stop() == 0
        assert box.database.value("SELECT count(*) FROM once.inbox") == 0


def test_US10_a_child_that_comes_before_its_parent(cluster, kafka, world_name):
    """It is tried again by itself; what follows it of its key waits behind it, everything else flows."""
    with Inbox(cluster, kafka, world_name, partitions=1) as box:
        box.database.execute("CREATE TABLE app.parent (key text PRIMARY KEY); GRANT ALL ON app.parent TO relay;"
                             "INSERT INTO app.parent SELECT 'k' || n FROM generate_series(0, 9) n WHERE n <> 3;"
                             "ALTER TABLE app.effect ADD FOREIGN KEY (key) REFERENCES app.parent")
        box.send_numbered(100, keys=10)
        relay = box.relay().start()
        box.wait_applied(90)
        assert box.database.value("SELECT count(*) FROM once.inbox WHERE state = 'parked'") == 0
        assert relay.metric("once_inbox_retries_later_total") == 1
        box.send_numbered(20, keys=10, first=100)
        box.wait_applied(108)
        box.database.execute("INSERT INTO app.parent VALUES ('k3')")
        box.wait_applied(120, timeout=60)
        assert relay.stop() == 0
        rows = [(row[0], int(bytes(row[1]))) for row in box.database.query("SELECT key, payload FROM app.effect ORDER BY nr")]
        for key in {row[0] for row in rows}:
            numbers = [n for k, n in rows if k == key]
            assert numbers == sorted(set(numbers)), f"order of {key}"
        assert len(rows) == 120 and box.database.value("SELECT count(*) FROM once.inbox") == 0


def test_US10_pauses_are_the_operators_and_end(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=1, retry="raise_exception=1s 1s") as box:
        box.database.execute("INSERT INTO app.bad VALUES ('bad')")
        box.send([message("0", key="a"), message("1", key="bad"), message("2", key="a")])
        relay = box.relay().start()
        box.wait_applied(2)
        wait_until("the last pause is over", lambda: box.database.query(
            "SELECT state, attempts FROM once.inbox") == [("parked", 3)], 60, 0.2)
        assert relay.stop() == 0


LEFT = {"a role": "PERFORM set_config('role', 'tenant', false)", "no plans": "EXECUTE 'DEALLOCATE ALL'",
        "a time limit": "PERFORM set_config('statement_timeout', '1', false)", "a lock limit": "PERFORM set_config('lock_timeout', '1', false)",
        "no writing": "PERFORM set_config('default_transaction_read_only', 'on', false)"}


@pytest.mark.parametrize("left", LEFT)
def test_US12_what_a_handler_leaves_in_the_session_ends_nobody(cluster, kafka, world_name, left):
    with Inbox(cluster, kafka, world_name, partitions=1, max_rows=50, handler="app.leaves") as box:
        box.database.execute("DO $$ BEGIN IF to_regrole('tenant') IS NULL THEN CREATE ROLE tenant; END IF; END $$; GRANT tenant TO relay")
        box.database.execute(f"""CREATE FUNCTION app.leaves(m once.message[]) RETURNS void LANGUAGE plpgsql AS $$
            BEGIN PERFORM app.apply(m); {LEFT[left]}; END $$""")
        box.database.execute("INSERT INTO app.bad VALUES ('k1', 'P0001')")
        box.send_numbered(300)
        relay = box.relay(max_attempts=1).start()
        box.wait_applied(285)
        wait_until("parked", lambda: box.database.value("SELECT count(*) FROM once.inbox WHERE state = 'parked'") == 1, 30)
        box.database.execute("DELETE FROM app.bad")
        box.database.execute("SELECT once.inbox_redrive('billing')")
        box.wait_applied(300)
        assert relay.alive() and relay.stop() == 0
        assert box.database.value("SELECT count(*) FROM once.inbox") == 0


def test_US12_a_deferred_trigger_runs_as_the_role_that_the_handler_chose(cluster, kafka, world_name):
    """With the relay's rights instead, a tenant's trigger could do what the tenant may not."""
    with Inbox(cluster, kafka, world_name, partitions=1, handler="app.tenants") as box:
        box.database.execute("DO $$ BEGIN IF to_regrole('tenant') IS NULL THEN CREATE ROLE tenant; END IF; END $$; GRANT tenant TO relay")
        box.database.execute("""
            CREATE TABLE app.ran (as_role text); GRANT ALL ON app.ran TO relay, tenant; GRANT USAGE ON SCHEMA app TO tenant;
            CREATE FUNCTION app.told() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN INSERT INTO app.ran VALUES (current_user); RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER told AFTER INSERT ON app.effect DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION app.told();
            CREATE FUNCTION app.tenants(m once.message[]) RETURNS void LANGUAGE plpgsql AS
                $$ BEGIN PERFORM app.apply(m); PERFORM set_config('role', 'tenant', true); END $$""")
        box.send_numbered(3)
        box.relay().drain()
        assert box.database.query("SELECT DISTINCT as_role FROM app.ran") == [("tenant",)]
        box.assert_exact(3)


def test_US13_an_error_of_three_megabytes_is_one_bounded_line(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=1, max_attempts=2, handler="app.wordy") as box:
        box.database.execute(r"""CREATE FUNCTION app.wordy(m once.message[]) RETURNS void LANGUAGE plpgsql AS $$
            BEGIN
                IF 'bad' = ANY (SELECT key FROM unnest(m)) THEN
                    RAISE EXCEPTION '%', repeat('x', 3000000) || E'\n\x1b[31m';
                END IF;
                PERFORM app.apply(m);
            END $$""")
        box.send([message("0", key="a"), message("1", key="bad"), message("2", key="a")])
        relay = box.relay()
        relay.drain()
        assert max(len(line) for line in relay.log().splitlines()) < 4000
        assert box.database.value("SELECT octet_length(error) FROM once.inbox") < 4000


def test_D2_a_storm_of_poison_is_put_aside(cluster, kafka, world_name):
    """Every second message is refused; four pauses each would take half an hour."""
    with Inbox(cluster, kafka, world_name, partitions=2, handler="app.half") as box:
        box.database.execute("""CREATE FUNCTION app.half(m once.message[]) RETURNS void LANGUAGE plpgsql AS $$
            BEGIN
                IF EXISTS (SELECT FROM unnest(m) x WHERE convert_from(x.payload, 'UTF8')::int % 2 = 1) THEN
                    RAISE EXCEPTION 'odd'; END IF;
                PERFORM app.apply(m);
            END $$""")
        box.send(message(n, key=f"k{n}") for n in range(2000))
        relay = box.relay().start()
        box.wait_applied(1000, timeout=60)
        wait_until("all are put aside", lambda: box.database.value("SELECT count(*) FROM once.inbox WHERE state = 'parked'") == 1000, 60, 0.2)
        assert relay.stop() == 0


def test_US3_an_id_of_several_parts(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=1, id_path=["/source", "/id"]) as box:
        events = [{"id": "100", "source": "/studio"}, {"id": "100", "source": "/lms"}, {"id": "100", "source": "/lms"}]
        box.send([message(json.dumps(event), identity=None) for event in events])
        box.relay().drain()
        assert [json.loads(text)["source"] for text in payloads(box)] == ["/studio", "/lms"]


NUMBERS = ["9007199254740992", "9007199254740993", "1795292668348461056", "18446744073709551615", "18446744073709551616",
           "18446744073709551617", "123456789012345678901234567890", "1.5", "1", "1e400"]


def test_US4_any_number_is_an_id_and_a_message_without_one_is_counted(cluster, kafka, world_name):
    with Inbox(cluster, kafka, world_name, partitions=1, id_path="/id") as box:
        twice = [f'{{"id": {number}}}' for number in NUMBERS + NUMBERS + ["1.0", "1.50"]]
        box.send([message(text, identity=None) for text in twice + ['{"no": 1}']])
        relay = box.relay().start()
        box.wait_applied(len(NUMBERS) + 1)
        assert payloads(box) == twice[:len(NUMBERS)] + ['{"no": 1}']
        assert relay.metric("once_inbox_without_id_total") == 1
        assert "inbox_message_without_id" in relay.log()
        assert relay.stop() == 0


@pytest.mark.parametrize("policy", ["park", "stop"])
def test_US4_a_message_without_its_id_may_not_act(cluster, kafka, world_name, policy):
    with Inbox(cluster, kafka, world_name, partitions=1, id_path="/id", on_missing_id=policy) as box:
        box.send([message(text, identity=None, key=f"k{n}") for n, text in enumerate(['{"id": 1}', "{}", '{"id": 2}'])])
        relay = box.relay()
        status = relay.run("--until-empty")
        if policy == "stop":
            assert status == 6 and "has no id" in relay.log() and box.applied() == 1
        else:
            assert status == 0 and payloads(box) == ['{"id": 1}', '{"id": 2}']
            assert box.database.query("SELECT state, key FROM once.inbox") == [("parked", "k1")]
