"""check, status, health: what an operator asks before going live and while it runs."""
import json
import re
import signal
import threading
import urllib.request

import pytest
from support.database_proxy import DatabaseProxy
from support.inbox import Inbox
from support.pooler import Pooler
from support.postgres import RELAY_ROLE
from support.process import RELAY, TOP, Process, wait_until
from support.relay import run_relay

DATABASE, KAFKA = 4, 5

def check(world, *more, dsn=None, brokers=None, env=None):
    """(exit code, findings as (severity, what, fix))"""
    status, output = run_relay("check", "--json", "--database", dsn or world.database.dsn(), "--brokers",
                               brokers or world.kafka.brokers, *more, timeout=60,
                               env={"ONCE_OUTBOX_POSITION_TOPIC": world.position_topic, **(env or {})})
    answer = json.loads(output)
    assert answer["exit_code"] == status
    return status, [(f["severity"], f["what"], f.get("fix", "")) for f in answer["findings"]]


def finding(findings, text):
    found = [f for f in findings if text in f[1]]
    assert found, f"{text!r} is not in\n" + "\n".join(map(str, findings))
    return found[0]


def status(world, *more):
    code, output = run_relay("status", "--json", "--database", world.database.dsn(), "--brokers", world.kafka.brokers,
                             *more, env={"ONCE_OUTBOX_POSITION_TOPIC": world.position_topic})
    assert code == 0, output
    return json.loads(output)


EXECUTE_OF_KIND = """SELECT p.oid::regprocedure::text, p.proname::text FROM once.role_right r
    JOIN pg_proc p ON p.proname = r.object AND p.pronamespace = 'once'::regnamespace WHERE kind = %s AND privilege = 'EXECUTE'"""


def names_of_rights_taken_away(database, kind, role, run_check):
    """What `check` says is missing when a kind of role may call nothing of its list."""
    functions = database.query(EXECUTE_OF_KIND, (kind,))
    for signature, _ in functions:
        database.execute(f"REVOKE EXECUTE ON FUNCTION {signature} FROM {role}")
    code, findings = run_check()
    assert code == DATABASE
    named = set(re.findall(r"(\w+)\(\)", finding(findings, "the role has no right to")[1]))
    assert named <= {name for _, name in functions}
    return functions, named


def test_check_asks_for_every_function_the_outbox_calls(world):
    """A relay's role may call nothing but its list (every other test runs with it); what of it `check` leaves out is for people."""
    functions, named = names_of_rights_taken_away(world.database, "relay", RELAY_ROLE, lambda: check(world))
    assert {name for _, name in functions} - named == {"lane_holder", "lane_try", "lane_unlock", "memory_rows", "rotate"}


def test_check_asks_for_every_function_the_inbox_calls(cluster, kafka, world_name):
    """With the rights that `check` asks for and no others messages are applied, parked and redriven."""
    with Inbox(cluster, kafka, world_name, partitions=2, max_attempts=2) as box:
        def asked():
            arguments = box.relay().arguments
            status, output = run_relay("check", "inbox", "--json", "--database", box.database.dsn(RELAY_ROLE), "--brokers",
                                       kafka.brokers, *arguments, timeout=60)
            return status, [(f["severity"], f["what"], f.get("fix", "")) for f in json.loads(output)["findings"]]
        functions, named = names_of_rights_taken_away(box.database, "consumer", RELAY_ROLE, asked)
        for signature, name in functions:
            if name in named:
                box.database.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {RELAY_ROLE}")
        assert not [what for _, what, _ in asked()[1] if "has no right to" in what]
        box.database.execute("INSERT INTO app.bad VALUES ('k3')")
        box.send_numbered(100)
        relay = box.relay().start()
        box.wait_applied(95)
        box.database.wait_for("it is parked", "SELECT count(*) = 5 FROM once.inbox")
        box.database.execute("DELETE FROM app.bad")
        box.database.execute("SELECT once.inbox_redrive('billing')")
        box.wait_applied(100)
        assert relay.stop() == 0, relay.log()
        del box.entry["handler"]
        box.relay(group=world_name + ".stored", consumer="stored", store=True).drain()
        assert box.database.value("SELECT count(*) FROM once.inbox") == 100


def test_check_good_set_up_has_no_error_and_changes_nothing(world):
    world.publish(f"{world.name}.orders", "x", "k")
    before = world.database.query("SELECT * FROM once.lane")
    code, findings = check(world)
    assert code == 0, findings
    for text in ("PostgreSQL 1", "primary", "UTF8", "no pooler", "timeouts", "extension pg_once", "every right",
                 "the relay may create it", "transactions can be begun", "librdkafka"):
        assert finding(findings, text)[0] == "ok"
    assert finding(findings, "one copy")[0] == "warning"
    assert all(fix for severity, _, fix in findings if severity != "ok"), "each finding has its fix"
    assert world.position_topic not in world.kafka.tools.run("list_topics")
    assert world.database.query("SELECT * FROM once.lane") == before


def test_check_topics(world):
    world.publish(f"{world.name}.nowhere", "x", "k")
    unclean = world.topic("unclean", 1, unclean_leader_election_enable="true")
    small = world.topic("small", 1, max_message_bytes="1000")
    compact = world.topic("compact", 1, cleanup_policy="compact")
    for topic in (unclean, small, compact):
        world.publish(topic, "x", "k")
    code, findings = check(world)
    assert code == KAFKA
    assert finding(findings, f'"{world.name}.nowhere" does not exist')[0] == "error"
    assert finding(findings, f'"{unclean}" has unclean')[0] == "error"
    assert "kafka-configs.sh" in finding(findings, f'"{small}" takes messages up to')[2]
    assert finding(findings, f'"{compact}" is compacted')[0] == "warning"


def test_check_partition_count_changed(world):
    """A key that moves to another partition has no order across the move."""
    topic = world.topic("moved", 2)
    world.publish(topic, "x", "k")
    relay = world.relay()
    assert relay.run("--until-empty") == 0, relay.log()
    _, findings = check(world)
    assert not [f for f in findings if "when the relay last reported" in f[1]]
    world.kafka.tools.run("add_partitions", topic=topic, partitions=3)
    code, findings = check(world)
    assert code == 0
    warning = finding(findings, f'"{topic}" had 2 partitions when the relay last reported, now 3')
    assert warning[0] == "warning" and "consumers" in warning[2]


@pytest.mark.parametrize("mode, sessions", [("transaction", 2), ("session", 2), ("session", 1)])
def test_check_pooler_in_the_way(world, mode, sessions):
    with Pooler(world.database, mode=mode, sessions=sessions) as pooler:
        code, findings = check(world, dsn=pooler.dsn())
        severity, what, fix = finding(findings, "pooler")
        if mode == "transaction":
            assert (code, severity) == (DATABASE, "error") and "transaction pooler" in what, findings
        else:
            assert severity == "warning" and "sessions are kept" in what, findings
        assert "server itself" in fix


@pytest.mark.parametrize("encoding, severity", [("LATIN1", "warning"), ("SQL_ASCII", "error")])
def test_check_database_that_is_not_utf8(world, encoding, severity):
    name = f"{world.name}_other"
    world.cluster.execute(f"CREATE DATABASE \"{name}\" ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    try:
        _, findings = check(world, dsn=world.cluster.dsn(name, "relay"))
        assert finding(findings, f"encoding {encoding}")[0] == severity
    finally:
        world.cluster.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_check_inbox_handler_and_group(world, tmp_path):
    file = tmp_path / "inbox.toml"
    file.write_text(f"[[inbox]]\ntopic = '{world.name}.orders'\ngroup = '{world.name}'\nhandler = 'public.nothing'\n")
    dsn = world.cluster.dsn(world.name, "postgres")
    code, findings = check(world, "--config", file, dsn=dsn)
    assert code == 2 and finding(findings, 'handler "public.nothing(once.message[])" does not exist')
    world.database.execute("CREATE FUNCTION public.nothing(once.message[]) RETURNS void LANGUAGE sql AS ''")
    code, findings = check(world, "--config", file, dsn=dsn)
    assert code == 0, findings
    assert finding(findings, f'group "{world.name}"')[0] == "ok"


def test_status_before_and_after_shipping(world):
    world.publish_bulk(f"{world.name}.orders", 10)
    [lane] = status(world)["lanes"]
    assert (lane["backlog"], lane["armed"], lane["report"]) == (10, False, None)
    assert lane["oldest_unshipped_s"] > 0
    world.relay().drain()
    [lane] = status(world)["lanes"]
    assert (lane["backlog"], lane["armed"], lane["holder"]) == (0, True, None)
    assert lane["kafka_position"]["counter"] == "10" == lane["report"]["position"]["counter"]
    code, output = run_relay("status", "--database", world.database.dsn())
    assert code == 0 and "no relay holds it" in output


def test_status_without_a_broker_still_tells_what_the_database_knows(world):
    world.publish_bulk(f"{world.name}.orders", 3)
    code, output = run_relay("status", "--json", "--database", world.database.dsn(), "--brokers", "127.0.0.1:1")
    answer, end = json.JSONDecoder().raw_decode(output)
    assert (code, answer["lanes"][0]["backlog"]) == (5, 3)
    assert "no broker answers at 127.0.0.1:1" in output[end:]


def test_status_names_the_transaction_that_holds_back_trimming(world):
    connection = world.database.connect(autocommit=False)
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT once.publish_text(%s, 'x'::text), pg_backend_pid()", (f"{world.name}.orders",))
        pid = cursor.fetchone()[1]
        [lane] = status(world)["lanes"]
        assert pid in [blocker.get("pid") for blocker in lane["trim_blockers"]]
    finally:
        connection.close()


def test_ready_is_measured_and_health_follows_the_states(world):
    relay = world.relay().start()
    wait_until("ready", lambda: relay.get("/readyz")[0] == 200, 30)
    assert relay.get("/healthz")[0] == 200
    before = relay.metric("once_outbox_events_total") or 0
    world.publish_bulk(f"{world.name}.orders", 7)
    wait_until("counted", lambda: relay.metric("once_outbox_events_total") == before + 7, 20)
    assert 'once_outbox_state{lane="0",state="running"} 1' in relay.get("/metrics")[1]
    # A topic that does not exist: the process lives, the lane does not get on, and the page says so.
    world.publish(f"{world.name}.nowhere", "x", "k")
    code, reason = wait_until("not ready", lambda: relay.get("/readyz") if relay.get("/readyz")[0] == 503 else None, 30)
    assert code == 503 and "lane 0" in reason
    wait_until("it says how often it tried", lambda: "failed attempts in a row" in relay.get("/readyz")[1], 30)
    assert relay.metric("once_outbox_failed_attempts") >= 1
    assert relay.get("/healthz")[0] == 200
    world.topic("nowhere", 1)
    wait_until("ready again", lambda: relay.get("/readyz")[0] == 200, 40)
    wait_until("a commit ends the row", lambda: relay.metric("once_outbox_failed_attempts") == 0, 20)
    assert relay.process.stop(signal.SIGTERM, 20) == 0


def test_standby_is_ready_and_says_so(world):
    holder = world.relay().start()
    wait_until("the holder is ready", lambda: holder.get("/readyz")[0] == 200, 30)
    standby = world.relay().start()
    wait_until("the standby says so",
               lambda: 'once_outbox_state{lane="0",state="standby"} 1' in standby.get("/metrics")[1], 20)
    assert standby.get("/readyz")[0] == 200
    with urllib.request.urlopen(f"http://127.0.0.1:{standby.port}/healthz", timeout=2) as answer:
        assert answer.status == 200
    assert standby.stop() == 0
    assert holder.stop() == 0


def test_backlog_is_told_by_metric_and_progress_bar(world, tmp_path):
    world.publish_bulk(f"{world.name}.orders", 50_000)
    relay = world.relay("--set", "outbox.max_rows=500", "--set", "outbox.slice_rows=500").start()
    wait_until("the backlog is counted", lambda: (relay.metric("once_outbox_backlog_events") or 0) > 10_000, 30, 0.01)
    wait_until("the backlog is gone", lambda: relay.metric("once_outbox_backlog_events") == 0, 120)
    assert relay.stop() == 0
    world.publish_bulk(f"{world.name}.orders", 50_000)
    wire = DatabaseProxy(world.cluster.port)
    wire.stall()
    threading.Timer(1.5, wire.flow).start()  # until then nothing is known, and nothing may be shown as all
    command = (f"{RELAY} outbox --until-empty --set outbox.max_rows=500 --set outbox.slice_rows=500 "
               f"--database '{wire.dsn(world.database.name, RELAY_ROLE)}' --brokers {world.kafka.brokers}")
    terminal = Process(["script", "-qec", command, tmp_path / "typescript"], log=tmp_path / "log",
                       env={"ONCE_OUTBOX_POSITION_TOPIC": world.position_topic})
    assert terminal.wait(120) == 0, terminal.log()
    wire.close()
    bars = re.findall(r"\[#* *\] +(\d+) %", (tmp_path / "typescript").read_text())
    assert bars and bars[-1] == "100" and int(bars[0]) < 100, bars


@pytest.mark.parametrize("word", ["DISABLE", "ENABLE", "ENABLE REPLICA"])
def test_BE7_check_names_triggers_that_do_not_fire_in_every_session(world, word):
    ours = 'triggers of schema "once"'
    status, findings = check(world)
    assert status == 0 and finding(findings, ours)[0] == "ok"
    world.database.execute(f"ALTER TABLE once.topic {word} TRIGGER config_changed; ALTER TABLE once.machine {word} TRIGGER changed")
    status, findings = check(world)
    severity, what, fix = finding(findings, ours)
    assert (status, severity) == (6, "error")
    assert what.endswith("do not fire in every session: changed on once.machine, config_changed on once.topic")
    world.database.execute(fix.split("; then")[0])
    status, findings = check(world)
    assert status == 0 and finding(findings, ours)[0] == "ok", "the fix it names mends it"


def test_BE3_check_names_publications_and_subscriptions_with_our_tables(world):
    ours = 'tables of schema "once"'
    assert not [what for _, what, _ in check(world)[1] if ours in what]
    world.database.execute("CREATE PUBLICATION app FOR TABLE app_parked; CREATE PUBLICATION everything FOR ALL TABLES")
    status, findings = check(world)
    found = [(severity, what) for severity, what, fix in findings if ours in what and "by schema" in fix]
    assert status == 0 and found == [("warning", 'tables of schema "once" are in publications: everything')]
    world.database.execute("DROP PUBLICATION everything")
    world.database.execute("SET allow_system_table_mods = on; INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate) "
                           "VALUES (1, 'once.event_0_0'::regclass, 'r')")
    status, findings = check(world)
    assert status == 6 and [severity for severity, what, _ in findings if ours in what and "subscription" in what] == ["error"]
    world.database.execute("SET allow_system_table_mods = on; DELETE FROM pg_subscription_rel")
