"""What a person does from the shell: thin calls of SQL functions, for people and for machines, tried before they are done."""
import json

import pytest
from support.postgres import RELAY_ROLE
from support.process import RELAY, Process, wait_until
from support.relay import run_relay

USAGE, DATABASE = 1, 4


@pytest.fixture
def shell(world):
    """Runs a command against the world's database as an administrator of pg_once; (exit status, output)."""
    role = f"{world.name}_admin"
    world.database.execute(f"CREATE ROLE {role} LOGIN; SELECT once.grant_admin('{role}')")
    yield lambda *words, user=role: run_relay(*words, "--database", world.database.dsn(user))
    world.database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.fixture
def parked(world):
    """The topic in which one event of key a was refused, with one behind it and one without a key."""
    small = world.topic("small", 1, max_message_bytes=2000)
    world.refused = world.publish(small, "x" * 5000, key="a")
    world.behind = world.publish(small, "a2", key="a")
    world.keyless = world.publish(small, b"\xff" * 5000)
    world.relay().drain()
    return small


def answer(shell, *words):
    status, output = shell(*words, "--json")
    assert status == 0, output
    return json.loads(output)


def test_dead_list_tells_what_is_parked_and_why(world, shell, parked):
    entries = answer(shell, "dead", "list")
    assert [(entry["id"], entry["topic"], entry["key"], entry["policy"], entry["wanted"]) for entry in entries] == [
        (world.refused, parked, "a", "hold_key", False), (world.behind, parked, "a", "hold_key", False),
        (world.keyless, parked, None, "hold_key", False)]
    assert "large" in entries[0]["error"] and not any("payload" in entry for entry in entries)
    assert [entry["id"] for entry in answer(shell, "dead", "list", "--key", "a", "--limit", "1")] == [world.refused]
    assert [entry["id"] for entry in answer(shell, "dead", "list", "--no-key")] == [world.keyless]
    assert answer(shell, "dead", "list", "--topic", "elsewhere") == []
    status, output = shell("dead", "list")
    assert status == 0 and world.refused in output and output.endswith("3 parked\n")


def test_dead_show_has_the_event_whole(world, shell, parked):
    [entry] = answer(shell, "dead", "show", "--id", world.refused)
    assert (entry["form"], entry["payload"]) == ("text", "x" * 5000)
    [entry] = answer(shell, "dead", "show", "--id", world.keyless)
    assert (entry["form"], entry["payload"]) == ("bytes", "\\x" + "ff" * 5000)
    status, output = shell("dead", "show", "--id", world.incarnation())
    assert status == USAGE and "is not parked" in output


def test_dead_redrive_can_be_tried_before_it_is_done(world, shell, parked):
    wanted = lambda: world.database.value("SELECT count(*) FROM once.dead_letter WHERE wanted")
    assert answer(shell, "dead", "redrive", "--topic", parked, "--key", "a", "--dry-run") == {"redrive": 2, "dry_run": True}
    assert wanted() == 0
    assert answer(shell, "dead", "redrive", "--topic", parked, "--key", "a") == {"redrive": 2, "dry_run": False}
    assert wanted() == 2
    world.kafka.tools.run("alter_topic", topic=parked, settings={"max.message.bytes": "100000"})
    status, output = shell("dead", "redrive", "--all")
    assert status == 0 and "1 more are wanted" in output
    world.remember()
    world.relay().drain()
    world.assert_exact()
    assert answer(shell, "dead", "list") == []


def test_dead_says_what_it_was_not_told(world, shell):
    for words in (("redrive",), ("redrive", "--topic", "t"), ("redrive", "--all", "--topic", "t", "--key", "k"), ("show",)):
        status, output = shell("dead", *words)
        assert status == USAGE and "hint: Say " in output, output
    world.database.execute("CREATE ROLE nobody_here LOGIN")
    try:
        status, output = shell("dead", "list", user="nobody_here")
        assert status == DATABASE and "missing privilege" in output and "once.grant_relay" in output, output
    finally:
        world.database.execute("DROP ROLE nobody_here")


def test_lag_and_peek_tell_what_waits_and_nothing_else(world, shell):
    topic = next(iter(world.topics))
    ids = [world.publish(topic, f"{{{number}}}", key="k") for number in range(3)]
    keyless = world.publish(topic, b"\xfe")
    ask = lambda *words: json.loads(shell(*words, "--json", user=RELAY_ROLE)[1])
    [lane] = ask("lag")
    assert (lane["events"], lane["exact"], lane["holder"]) == (4, True, None) and lane["oldest_s"] > 0
    assert [(event["id"], event["key"], event["form"], event["payload"]) for event in ask("peek")] == [
        *[(identity, "k", "text", f"{{{number}}}") for number, identity in enumerate(ids)], (keyless, None, "bytes", "\\xfe")]
    assert [event["id"] for event in ask("peek", "--key", "k", "--limit", "2")] == ids[:2]
    assert [event["id"] for event in ask("peek", "--no-key")] == [keyless]
    world.relay().drain()
    assert ask("peek") == [] and ask("lag")[0]["events"] == 0
    last = world.publish(topic, "later", key="k")
    assert [event["id"] for event in ask("peek", "--topic", topic)] == [last]
    assert ask("peek", "--lane", "1") == [] == ask("lag", "--lane", "1")
    status, output = shell("lag", user=RELAY_ROLE)
    assert status == 0 and "1 events" in output, output


def test_in_the_middle_of_a_difference_only_what_is_behind_the_position_waits(world, shell):
    topic = next(iter(world.topics))
    world.publish_bulk(topic, 10)
    world.relay().drain()
    world.publish_bulk(topic, 10)
    world.database.execute("UPDATE once.relay_report SET position = position || jsonb_build_object('s_prev', position -> 's_now', 's_now', "
                           "pg_current_snapshot()::text, 'slice_seq', ((position ->> 'last_seq')::bigint + 4)::text)")
    waiting = json.loads(shell("peek", "--json", user=RELAY_ROLE)[1])
    assert [event["payload"].rstrip(".") for event in waiting] == [str(number) for number in range(5, 11)]
    assert json.loads(shell("lag", "--json", user=RELAY_ROLE)[1])[0]["events"] == 6


def test_init_writes_a_file_that_works_and_the_statements_that_it_needs(world, tmp_path):
    file = tmp_path / "once.toml"
    role = f"{world.name}_fresh"
    given = ["--config", file, "--database", world.database.dsn(role), "--brokers", world.kafka.brokers,
             "--set", f"outbox.position_topic={world.position_topic}"]
    status, output = run_relay("init", *given, "--dry-run")
    assert status == 0 and "max_rows = 20000" in output and not file.exists()
    status, statements = run_relay("init", *given)
    assert status == 0 and file.stat().st_mode & 0o777 == 0o600
    try:
        world.database.execute("\n".join(line for line in statements.splitlines() if not line.startswith("--")))
        world.publish_bulk(next(iter(world.topics)), 3)
        status, output = run_relay("outbox", "--until-empty", "--config", file)
        assert status == 0, output
        world.assert_exact()
        before = file.read_text()
        status, output = run_relay("init", *given)
        assert status == 2 and "overwrites nothing" in output and file.read_text() == before
    finally:
        world.database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_tail_follows_what_committed_readers_see(world, tmp_path):
    topic, other = list(world.topics)
    world.publish(topic, "before", key="k")
    relay = world.relay()
    relay.drain()
    command = [RELAY, "tail", "--brokers", world.kafka.brokers, "--topic", topic, "--key", "k", "--limit", "3", "--json"]
    follower = Process(command, log=tmp_path / "tail.log")
    wait_until("it follows", lambda: "following" in follower.log(), 30)
    ids = [world.publish(topic, payload, key=key) for payload, key in (("one", "k"), ("none of k", "l"), ("\x1b[31m two", "k"), (b"\xfe", "k"))]
    world.publish(other, "elsewhere", key="k")
    relay.drain()
    assert follower.wait(30) == 0, follower.log()
    messages = [json.loads(line) for line in follower.log().splitlines() if line.startswith("{")]
    assert [(message["payload"], dict(message["headers"])["once-id"]) for message in messages] == [
        ("one", ids[0]), ("\x1b[31m two", ids[2]), ("\\xfe", ids[3])]
    status, output = run_relay("tail", "--brokers", world.kafka.brokers, "--topic", "nowhere.at.all")
    assert status == 5 and "is not there" in output
