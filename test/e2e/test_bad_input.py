"""Bad input, case by case: one clear line (what, why, what to do), its exit code, and nothing changed."""
import base64
import json
import re
import socket

import pytest
from support.process import wait_until
from support.relay import run_relay

USAGE, CONFIGURATION, MISMATCH, DATABASE, KAFKA, REFUSED = 1, 2, 3, 4, 5, 6


class Setup:
    """A world and what must not change in it."""

    def __init__(self, world):
        self.world = world
        self.dsn = world.database.dsn()
        self.brokers = world.kafka.brokers

    def run(self, *more, dsn=None, brokers=None, position_topic=None, command="outbox", timeout=60):
        words = [command, "--database", dsn or self.dsn, "--brokers", brokers or self.brokers]
        words += ["--until-empty"] if command == "outbox" else []
        return run_relay(*words, *more, timeout=timeout,
                         env={"ONCE_OUTBOX_POSITION_TOPIC": position_topic or self.world.position_topic})

    def state(self):
        """All that a refused start could have touched."""
        database = self.world.database
        topics = {topic: self.world.kafka.tools.run("end_offsets", topic=topic) for topic in self.topics()}
        return (database.query("SELECT * FROM once.lane ORDER BY 1"),
                database.query("SELECT lane, position::text FROM once.relay_report ORDER BY 1"),
                database.query("SELECT count(*) FROM once.event_0"),
                database.query("SELECT count(*) FROM once.dead_letter"), topics)

    def topic(self, name, partitions=1, **settings):
        """A topic beside the world's; returns when the broker lists it."""
        full = f"{self.world.name}.{name}"
        self.world.kafka.create_topic(full, partitions, **settings)
        wait_until(f"topic {full} is listed", lambda: full in self.topics(), 10)
        return full

    def topics(self):
        return sorted(topic for topic in self.world.kafka.tools.run("list_topics") if topic.startswith(self.world.name))

    def refuses(self, code, text, *more, hint=None, **options):
        before = self.state()
        status, output = self.run(*more, **options)
        assert status == code, output
        lines = [line for line in output.splitlines() if line.startswith("once-relay: ")]
        assert len(lines) == 1, output
        assert text in lines[0], lines[0]
        if hint:
            assert re.search(f"^hint: .*{hint}", output, re.M), output
        assert self.state() == before
        return output


@pytest.fixture
def setup(world):
    world.publish(f"{world.name}.orders", "x", "k")
    made = Setup(world)
    wait_until("the world's topics are listed", lambda: set(world.topics) <= set(made.topics()), 10)
    return made


def test_bad_input_unknown_option(setup):
    setup.refuses(USAGE, 'unknown option "--brokrs"', "--brokrs", "x", hint='Did you mean "--brokers"')
    setup.refuses(USAGE, 'unknown command "outbx"', command="outbx", hint="outbox")
    setup.refuses(CONFIGURATION, 'unknown option "outbox.max_row"', "--set", "outbox.max_row=1", hint="outbox.max_rows")


def test_bad_input_unreadable_configuration(setup, tmp_path):
    setup.refuses(CONFIGURATION, "No such file or directory", "--config", tmp_path / "none.toml", hint="path")
    setup.refuses(CONFIGURATION, "Is a directory", "--config", tmp_path)
    broken = tmp_path / "broken.toml"
    for text, expected in (("[outbox\n", f"({'file ' + str(broken)}:1)"), ("\nmax_rows = 1\n", ":2)"),
                           ("\n\n[outbox]\nmax_rows = 'many'\n", ":4)"), ("[outbox]\nmax_rows = 0\n", '"0"')):
        broken.write_text(text)
        setup.refuses(CONFIGURATION, expected, "--config", broken)


def test_bad_input_settings_that_break_exactness(setup):
    for setting in ("acks=1", "enable.idempotence=false", "transactional.id=mine", "isolation.level=read_uncommitted"):
        setup.refuses(CONFIGURATION, f'"kafka.{setting.split("=")[0]}"', "--set", f"kafka.{setting}", hint="Remove it")


def test_bad_input_wrong_dsn(setup, cluster):
    setup.refuses(CONFIGURATION, "cannot read the connection string", dsn="hots=db1", hint="host=")
    setup.refuses(DATABASE, "No such file or directory", dsn="host=/nonexistent")
    setup.refuses(DATABASE, 'database "nowhere" does not exist', dsn=cluster.dsn("nowhere", "relay"))
    setup.refuses(DATABASE, 'role "nobody" does not exist', dsn=cluster.dsn(setup.world.name, "nobody"))


def test_bad_input_password_is_in_no_output(setup):
    for dsn in ("host=/nonexistent password=hunter2", "postgresql://relay:hunter2@[::1/x", "password='hunter2",
                "host=/nonexistent password=a hunter2"):
        _, output = setup.run(dsn=dsn)
        assert "hunter2" not in output
    status, output = setup.run(dsn="postgresql://relay:hunter2@db1/shop", command="print-config")
    assert status == 0 and "hunter2" not in output and "password=***" in output


def test_bad_input_no_broker(setup):
    output = setup.refuses(KAFKA, "127.0.0.1:1", brokers="127.0.0.1:1", hint="brokers")
    assert "kafka_away" in output, "who waits for it must hear why, before it ends"
    assert len(output.splitlines()) < 12, "retries are not to flood the log"


def test_bad_input_no_extension(setup, cluster):
    cluster.execute(f'CREATE DATABASE "{setup.world.name}_plain"')
    try:
        setup.refuses(MISMATCH, "pg_once", dsn=cluster.dsn(f"{setup.world.name}_plain", "relay"), hint="CREATE EXTENSION")
    finally:
        cluster.execute(f'DROP DATABASE "{setup.world.name}_plain" WITH (FORCE)')


def test_bad_input_wrong_extension_version(setup):
    setup.world.database.execute("CREATE OR REPLACE FUNCTION once.protocol(OUT oldest int, OUT newest int) LANGUAGE sql STABLE "
                                 "SET search_path = pg_catalog, pg_temp AS 'SELECT 99, 99'")
    setup.refuses(MISMATCH, "protocol 99", hint="same version")
    status, output = setup.run(command="check")
    assert status == MISMATCH and "protocol 99" in output


def test_bad_input_missing_privilege(setup, cluster):
    role = f"{setup.world.name}_weak"
    cluster.execute(f'CREATE ROLE "{role}" LOGIN')
    dsn = cluster.dsn(setup.world.name, role)
    try:
        setup.refuses(DATABASE, "permission denied for schema once", dsn=dsn, hint="grant_relay")
        setup.world.database.execute(f"""SELECT once.grant_relay('"{role}"')""")
        setup.world.database.execute(f'REVOKE SELECT ON once.event_0 FROM "{role}"')
        setup.world.database.execute(f'REVOKE EXECUTE ON FUNCTION once.cut(int) FROM "{role}"')
        status, output = setup.run(dsn=dsn, command="check")
        assert status == DATABASE and "cut()" in output and "event_0" in output and "once.grant_relay" in output
        status, output = setup.run(dsn=dsn)
        assert status == DATABASE and "missing privilege: permission denied for" in output, output
    finally:
        setup.world.database.execute(f'DROP OWNED BY "{role}"')
        cluster.execute(f'DROP ROLE "{role}"')


def test_bad_input_lane_that_does_not_exist(setup):
    setup.refuses(CONFIGURATION, "lane 7 does not exist", "--lane", "7", hint="set_lanes")


def test_bad_input_topic_that_cannot_be_created(setup):
    output = setup.refuses(KAFKA, f'cannot create topic "{setup.world.position_topic}"', "--set",
                           "outbox.position_replication=3", hint="Create it")
    assert "replication factor" in output


def test_bad_input_P14_position_topic_with_delete_policy(setup):
    topic = setup.topic("deleted", cleanup_policy="delete")
    setup.refuses(REFUSED, "cleanup.policy=delete", position_topic=topic, hint="cleanup.policy=compact")
    status, output = setup.run(command="check", position_topic=topic)
    assert status == REFUSED and "cleanup.policy = delete" in output


def test_bad_input_P14_position_topic_with_two_partitions(setup):
    topic = setup.topic("two", 2, cleanup_policy="compact")
    setup.refuses(REFUSED, "2 partitions", position_topic=topic)


def last_position(setup):
    return [message for message in setup.world.positions() if not message.key.endswith(b"/start")][-1]


def put_position(setup, value):
    """Under the lane's own key, behind the relay's records."""
    key = last_position(setup).key
    encode = lambda data: None if data is None else base64.b64encode(data).decode()
    setup.world.kafka.tools.run("produce", topic=setup.world.position_topic, partition=0, key=encode(key),
                                value=encode(value))


@pytest.mark.parametrize("kind", ["garbage", "empty", "tombstone", "unknown_format", "missing_member", "regressed"])
def test_bad_input_P14_corrupt_position(setup, kind):
    assert setup.run()[0] == 0
    record = json.loads(last_position(setup).value)
    older = dict(record)
    setup.world.publish_bulk(f"{setup.world.name}.orders", 5)
    assert setup.run()[0] == 0
    newer = json.loads(last_position(setup).value)
    assert int(newer["counter"]) == 6
    bad = {"garbage": b"\x00\xff{", "empty": b"", "tombstone": None, "unknown_format": json.dumps({**newer, "format": 999}).encode(),
           "missing_member": json.dumps({k: v for k, v in newer.items() if k != "s_now"}).encode(),
           "regressed": json.dumps(older).encode()}[kind]
    put_position(setup, bad)
    setup.world.publish(f"{setup.world.name}.orders", "y", "k")
    output = setup.refuses(REFUSED, "position", hint="once.rearm")
    assert len(setup.world.messages(f"{setup.world.name}.orders")) == 6, output


def test_bad_input_P14_another_position_topic(setup):
    """What happens when the topic or its records are gone: test_history."""
    assert setup.run()[0] == 0
    setup.world.publish(f"{setup.world.name}.orders", "y", "k")
    other = f"{setup.world.name}.other"
    setup.refuses(REFUSED, f'topic "{other}" is missing', position_topic=other, hint="once.rearm")
    status, output = setup.run(command="check", position_topic=other)
    assert status == REFUSED and "is missing" in output


def test_bad_input_http_address_taken_or_remote(setup):
    setup.refuses(CONFIGURATION, "is not loopback", "--http", "0.0.0.0:9187", hint="allow_remote")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        setup.refuses(CONFIGURATION, "could not listen", "--http", f"127.0.0.1:{taken.getsockname()[1]}")
