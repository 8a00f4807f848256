"""Hostile input and hostile neighbours, where a second session, a process or memory has to be looked at; the rest is test/sql/46_hostile."""
import os
import resource
import signal
import subprocess
import time
import uuid
from pathlib import Path

import psycopg2
import pytest
from support.process import RELAY, STAGED_BIN, most_memory, server_user, temporary_folder, wait_until
from support.relay import Relay, run_relay

SECRETS = {"database": "pw-of-the-database", "sasl": "pw-of-sasl", "key": "pw-of-the-key"}


@pytest.fixture
def database(cluster, world_name):
    made = cluster.create_database(world_name)
    made.execute("SELECT once.machine_set('m', 'a', '[{\"from\": \"a\", \"event\": \"e\", \"to\": \"b\"}]')")
    yield made
    made.drop()


# --- documents that are large or deep

MEGABYTES = 32
DOCUMENTS = {
    "one long string": "to_jsonb(repeat('x', 33554432))",
    "many numbers": "(SELECT jsonb_agg(n) FROM generate_series(1, 1500000) n)",
    "many keys": "(SELECT jsonb_object_agg('key' || n, n::text) FROM generate_series(1, 500000) n)",
    "many objects": "(SELECT jsonb_agg(jsonb_build_object('from', 'a', 'event', 'e' || n, 'to', 'b')) FROM generate_series(1, 200000) n)",
    "deep": "(repeat('[', 5000) || repeat(']', 5000))::jsonb",
    "deep objects": "(repeat('{\"a\":', 3000) || '1' || repeat('}', 3000))::jsonb",
    "numbers with long exponents": "(SELECT jsonb_agg('1e131000'::jsonb) FROM generate_series(1, 2000))",
}
# A document, and what may come of it: an answer, or one of these.
TAKERS = {
    "SELECT once.publish('t', d)": {"ok", "ON002"},
    "SELECT once.publish_text('t', 'x'::text, headers => d)": {"ON003", "ON002"},
    "SELECT once.publish_many('t', ARRAY[d], '{k}')": {"ok", "ON002"},
    "SELECT once.claim('s', 'k', d)": {"ok"},
    "SELECT once.fingerprint(d)": {"ok"},
    "SELECT once.content_id('s', d)": {"ok"},
    "SELECT once.content_id('s', d, '{key7,a}')": {"ok", "22023"},
    "SELECT once.complete('s', 'k', TOKEN, response => d)": {"ok", "54000"},
    "SELECT once.checkpoint('s', 'k', TOKEN, d)": {"ok", "54000"},
    "SELECT once.fail('s', 'k', TOKEN, d)": {"ok", "54000"},
    "SELECT once.machine_set('other', 'a', d)": {"22023", "ON031"},
    "SELECT once.inbox_put('c', 'i', 'x', headers => d)": {"ok"},
}


def high_water(pid, reset=False):
    if reset:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    return most_memory(pid)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_hostile_documents_take_bounded_time_and_memory(database, document):
    with database.session() as cursor:
        pid = cursor.connection.info.backend_pid
        cursor.execute(f"SET client_min_messages = error; CREATE TEMP TABLE given AS SELECT {DOCUMENTS[document]} AS d")
        cursor.execute("SET statement_timeout = '60s'")  # ends a test that failed
        for statement, allowed in TAKERS.items():
            cursor.execute("SELECT pg_column_size(d::text) FROM given")
            before = high_water(pid, reset=True)
            cursor.execute("BEGIN")
            if "TOKEN" in statement:
                cursor.execute("SELECT token FROM once.claim('s', 'k')")
                statement = statement.replace("TOKEN", f"'{cursor.fetchone()[0]}'")
            try:
                cursor.execute(f"SELECT ({statement.removeprefix('SELECT ')})::text FROM given")
                outcome = "ok"
            except psycopg2.Error as error:
                outcome = error.pgcode
            cursor.execute("ROLLBACK")
            grown = high_water(pid) - before
            assert outcome in allowed, f"{statement}: {outcome}"
            assert grown < 8 * MEGABYTES + 64, f"{statement}: {grown:.0f} MB"


# --- other people's sessions

def test_hostile_lane_holder_of_another_role_is_not_terminated(database, cluster):
    """A waiter ends a silent holder of its own role; a role that may run the relay ends nobody else's sessions."""
    cluster.execute("DO $$ BEGIN CREATE ROLE other_relay LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
    database.execute("SELECT once.grant_relay('other_relay')")
    holder = cluster.connect(database.name, "relay")
    waiter = cluster.connect(database.name, "other_relay")
    try:
        with holder.cursor() as has, waiter.cursor() as wants:
            has.execute("SELECT acquired FROM once.lane_lock(0)")
            assert has.fetchone()[0]
            time.sleep(16)  # the time is the case: silent for longer than 15 s
            for _ in range(3):
                wants.execute("SELECT acquired, evicted FROM once.lane_lock(0)")
                assert wants.fetchone() == (False, False)
            has.execute("SELECT 1")
    finally:
        holder.close()
        waiter.close()
        database.execute("DROP OWNED BY other_relay")
        cluster.execute("DROP ROLE other_relay")


def test_hostile_functions_and_operators_in_the_path_of_the_relay(world):
    """Whoever may create in a schema on the relay's search_path could offer a function that fits better than the server's."""
    database = world.database
    database.execute("""
        CREATE ROLE neighbour; GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC;
        CREATE TABLE public.caught (who text); GRANT INSERT ON public.caught TO PUBLIC;
        SET ROLE neighbour;
        CREATE FUNCTION public.array_to_string(uuid[], text) RETURNS text LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO public.caught VALUES (current_user); RETURN pg_catalog.array_to_string($1, $2); END $$;
        CREATE FUNCTION public.unnest(bigint[]) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO public.caught VALUES (current_user); RETURN QUERY SELECT pg_catalog.unnest($1); END $$;
        CREATE FUNCTION public.times(numeric, int) RETURNS numeric LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO public.caught VALUES (current_user); RETURN $1 OPERATOR(pg_catalog.*) $2; END $$;
        CREATE OPERATOR public.* (FUNCTION = public.times, LEFTARG = numeric, RIGHTARG = int);
        CREATE FUNCTION public.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO public.caught VALUES (current_user); RETURN QUERY SELECT pg_catalog.unnest($1); END $$;
        CREATE FUNCTION public.to_jsonb(record) RETURNS jsonb LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO public.caught VALUES (current_user); RETURN pg_catalog.to_jsonb($1); END $$;
        CREATE FUNCTION public.quote_ident(name) RETURNS text LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO public.caught VALUES (current_user); RETURN pg_catalog.quote_ident($1); END $$;
        CREATE FUNCTION public.differs(anyenum, text) RETURNS boolean LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO public.caught VALUES (current_user); RETURN $1::text OPERATOR(pg_catalog.<>) $2; END $$;
        CREATE OPERATOR public.<> (FUNCTION = public.differs, LEFTARG = anyenum, RIGHTARG = text);
        RESET ROLE; CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO relay;
        CREATE FUNCTION app.apply(once.message[]) RETURNS void LANGUAGE sql AS '';
        SELECT once.grant_consumer('relay')""")
    try:
        topic = f"{world.name}.orders"
        world.publish(topic, "x", "k")
        world.relay().drain()
        world.assert_exact()
        for handler in ("handler=app.apply", "handler=app.missing"):
            words = ["--database", database.dsn(), "--brokers", world.kafka.brokers, "--set", f"inbox.1.topic={topic}",
                     "--set", f"inbox.1.group={world.name}", "--set", f"inbox.1.{handler}"]
            for command in (["inbox", "--until-empty"], ["check"], ["status"], ["status", "--json"]):
                status, output = run_relay(*command, *words, timeout=60, env={"ONCE_OUTBOX_POSITION_TOPIC": world.position_topic})
                assert status == 0 or "missing" in handler and command[0] != "status", output
        assert database.query("SELECT who FROM public.caught") == []
    finally:
        database.execute("DROP OWNED BY neighbour CASCADE; DROP ROLE neighbour")


def test_P14_hostile_an_event_cannot_be_a_position(world):
    """Positions stand in one topic for all databases of a cluster, and the relay may write there: an event for it would be
    a publisher's word for how far some stream is."""
    world.publish(f"{world.name}.orders", "before", "k")
    forged = f"{uuid.uuid4()}/0"
    database = world.database
    database.execute("SELECT once.publish_text(%s, 'x', key => 'a'), once.publish(%s, '{}'::jsonb, key => %s), once.publish_text(%s, 'y', key => 'b')",
                     (f"{world.name}.orders", world.position_topic, forged, f"{world.name}.orders"))
    relay = world.relay()
    relay.drain()
    assert len(world.messages()) == 3
    assert database.query("SELECT convert_from(key, 'UTF8'), error FROM once.dead_letter") == [
        (forged, f'topic "{world.position_topic}" is for positions alone')]
    assert "message_put_aside" in relay.log()
    database.execute("SELECT once.redrive_all()")
    world.publish(f"{world.name}.orders", "after", "k")
    world.relay().drain()
    assert forged not in {message.key.decode() for message in world.positions()}
    world.assert_exact(waiting=1)


def test_hostile_names_do_not_write_to_the_operators_terminal(world):
    """Whoever may prepare a transaction names it, and status tells who holds back trimming."""
    with world.database.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT once.publish_text(%s, 'x')", (f"{world.name}.orders",))
        cursor.execute("PREPARE TRANSACTION %s", ("a\n\x1b[2Jlane 0: all is well",))
    try:
        status, output = run_relay("status", "--database", world.database.dsn())
        assert status == 0 and "trimming waits for prepared transaction a  [2Jlane 0" in output, output
        assert "\x1b" not in output
    finally:
        world.database.execute("ROLLBACK PREPARED %s", ("a\n\x1b[2Jlane 0: all is well",))


# --- secrets

@pytest.fixture
def shown(world, cluster, tmp_path):
    """A relay that was given secrets in every way it takes them, at the level at which it says the most."""
    world.publish(f"{world.name}.orders", "x", "k")
    file = tmp_path / "relay.toml"
    file.write_text(f'[kafka]\n"ssl.key.password" = "{SECRETS["key"]}"\n')
    relay = Relay(world.database.dsn(), world.kafka.brokers, "--config", file, "--set", f"kafka.sasl.password={SECRETS['sasl']}",
                  "--set", "kafka.debug=all", "--log-level", "trace", env={"ONCE_OUTBOX_POSITION_TOPIC": world.position_topic})
    relay.dsn += f" password={SECRETS['database']}"
    world.relays.append(relay)
    return relay


def test_hostile_no_secret_in_log_ps_or_the_database(world, shown):
    shown.start().wait_state("running")
    wait_until("it was shipped", lambda: len(world.messages()) == 1, 30, 0.2)
    words = Path(f"/proc/{shown.process.pid}/cmdline").read_text().split("\0")
    assert "--database" in words and "--set" in words  # the flags are still there to be recognised
    activity = str(world.database.query("SELECT application_name, query, usename FROM pg_stat_activity"))
    assert shown.stop() == 0
    assert len(shown.log()) > 20000, "the relay was to say much"
    for secret in SECRETS.values():
        assert secret not in shown.log()
        assert secret not in " ".join(words)
        assert secret not in activity


def test_hostile_no_secret_in_messages_about_them(world, tmp_path):
    broken = tmp_path / "relay.toml"
    broken.write_text('[kafka]\n"sasl.password" = "pw-of-sasl\n')
    secret = "pw-of-the-database"
    for words in (["--database", f"host=127.0.0.1 port=1 password={secret}"], ["--database", f"postgresql://relay:{secret}@127.0.0.1:1/x"],
                  ["--database", f"host=/nowhere 'password={secret}"], ["--database", f"postgresql://relay:{secret}@[::1/x"],
                  [f"host=/nowhere password={secret}"], [f"postgresql://relay:{secret}@127.0.0.1:1/x"], ["--password", secret],
                  ["--config", str(broken)], ["--set", "kafka.sasl.password"], ["--set", "kafka.ssl.key.pem=pw-of-the-key"],
                  ["--set", "kafka.sasl.oauthbearer.client.secret=pw-of-the-key", "--set", "kafka.sasl.mechanism=nothing"]):
        for command in ("outbox", "print-config", "check", "status"):
            known = ["--until-empty"] if command == "outbox" else []
            known += ["--brokers", world.kafka.brokers] if "--database" in words else ["--brokers", world.kafka.brokers, "--database", world.database.dsn()]
            _, output = run_relay(command, *words, *known, timeout=60, env={"ONCE_OUTBOX_POSITION_TOPIC": world.position_topic})
            for value in SECRETS.values():
                assert value not in output, (command, words, output)


def test_hostile_no_core_file_and_no_look_into_memory(world):
    """Not dumpable: the kernel writes no core, whatever its limits, and only root reads /proc/PID/environ."""
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    program = STAGED_BIN / "once-relay" if server_user() else RELAY
    # Root may look at everything: then relay and spy are somebody else.
    somebody = {"user": server_user(), "group": server_user(), "extra_groups": ()} if server_user() else {}
    words = [program, "outbox", "--database", world.database.dsn(), "--brokers", world.kafka.brokers]
    ended, seen = {}, {}
    for name, command in (("relay", words), ("control", ["sleep", "60"])):
        child = subprocess.Popen(list(map(str, command)), cwd=temporary_folder("core", server_user()), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **somebody,
                                 env={**os.environ, "ONCE_OUTBOX_POSITION_TOPIC": world.position_topic, "ONCE_KAFKA_SASL_PASSWORD": SECRETS["sasl"]})
        try:
            wait_until("it runs", lambda: Path(f"/proc/{child.pid}/comm").read_text().strip() in ("once-relay", "sleep"), 5)
            time.sleep(1)  # it is past its start, where it forbids to be looked into
            spied = subprocess.run(["cat", f"/proc/{child.pid}/environ"], capture_output=True, check=False, cwd="/", **somebody)
            seen[name] = SECRETS["sasl"].encode() in spied.stdout
        finally:
            child.send_signal(signal.SIGSEGV)
            ended[name] = os.WCOREDUMP(os.waitpid(child.pid, 0)[1])
    assert seen == {"relay": False, "control": True}
    assert not ended["relay"]
    if not ended["control"]:
        pytest.skip("this machine writes no core files: nothing to compare with")


def test_hostile_a_secret_that_everybody_may_read_is_told(world, tmp_path):
    file = tmp_path / "relay.toml"
    for text, mode, told in (('[kafka]\n"sasl.password" = "pw-of-sasl"\n', 0o644, True), ('[kafka]\n"sasl.password" = "pw-of-sasl"\n', 0o640, False),
                             ('[kafka]\n"sasl.username" = "relay"\n', 0o644, False),
                             (f'database = "{world.database.dsn()} password=pw-of-the-database"\n', 0o644, True)):
        file.write_text(text)
        file.chmod(mode)
        words = ["--config", str(file), "--brokers", world.kafka.brokers]
        words += [] if "database" in text else ["--database", world.database.dsn()]
        env = {"ONCE_OUTBOX_POSITION_TOPIC": world.position_topic}
        _, output = run_relay("outbox", "--until-empty", *words, timeout=60, env=env)
        assert (f"secret_readable file={file}" in output) == told, output
        _, output = run_relay("check", "outbox", *words, timeout=60, env=env)
        assert (f"fix: chmod o-r {file}" in output) == told, output
