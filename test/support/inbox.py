"""A receiving database with a handler whose effects can be counted, and messages to send to it."""
import base64
import uuid

from .inbox_checker import Effect, check_inbox
from .relay import Relay

# A member that was killed keeps its partitions for so long.
SHORT_SESSION = ["--set", "kafka.session.timeout.ms=2000", "--set", "kafka.heartbeat.interval.ms=500"]

# Every call leaves a row per message: an effect that happens twice or out of order is seen.
SCHEMA = """
CREATE SCHEMA app AUTHORIZATION relay;
SELECT once.grant_consumer('relay');
SET ROLE relay;
CREATE TABLE app.effect (nr bigserial, topic text, partition int, log_offset bigint, key text, payload bytea, headers jsonb,
    id text, source text, pos bigint, sent_at timestamptz, xid xid8 DEFAULT pg_current_xact_id());
CREATE TABLE app.bad (key text PRIMARY KEY, state text DEFAULT 'P0001');
CREATE FUNCTION app.apply(messages once.message[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    broken record;
BEGIN
    SELECT m.key, b.state INTO broken FROM unnest(messages) m JOIN app.bad b ON b.key = m.key LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'handler does not like key %', broken.key USING ERRCODE = broken.state;
    END IF;
    INSERT INTO app.effect SELECT nextval('app.effect_nr_seq'), m.* FROM unnest(messages) m;
END $$;
CREATE FUNCTION app.apply_one(message once.message) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    PERFORM app.apply(ARRAY[message]);
    RETURN 1;
END $$;
CREATE FUNCTION app.slow(messages once.message[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM app.apply(messages);
    PERFORM pg_advisory_xact_lock_shared(4711); -- a test that holds it stops the handler here
END $$;
"""


def message(value, key=None, identity=True, partition=None, headers=(), source=None, position=None):
    """`identity`: True for a fresh once-id, a text for that id, None for a foreign producer."""
    every = list(headers)
    if identity:
        every.append(("once-id", str(uuid.uuid4()) if identity is True else identity))
    if source:
        every += [("once-source", source), ("once-position", str(position))]
    return {"key": encode(key), "value": encode(value), "partition": partition,
            "headers": [[name, encode(text)] for name, text in every]}


def encode(value):
    if value is None:
        return None
    return base64.b64encode(value if isinstance(value, bytes) else str(value).encode()).decode()


def received(database, table="app.effect", group=None):
    """For check_inbox: effects in the order in which they happened, and (topic, partition) → stored offset, of one group or all."""
    effects = [Effect(topic, partition, offset, key and key.encode(), None if payload is None else bytes(payload))
               for topic, partition, offset, key, payload in
               database.query(f"SELECT topic, partition, log_offset, key, payload FROM {table} ORDER BY nr")]
    stored = {(topic, partition): offset for topic, partition, offset in database.query(
        "SELECT topic, partition, next FROM once.consumer_offset WHERE grp = coalesce(%s, grp)", (group,))}
    return effects, stored


class Inbox:
    """One [[inbox]] table and the relays that run it. Use as a context."""

    def __init__(self, cluster, kafka, name, *, partitions=4, handler="app.apply", topic_settings=None, **entry):
        self.kafka = kafka
        self.name = name
        self.topic = f"{name}.in"
        kafka.create_topic(self.topic, partitions, **(topic_settings or {}))
        self.partitions = partitions
        self.database = cluster.create_database(name + "_b")
        self.database.execute(SCHEMA)
        self.entry = {"topic": self.topic, "group": name, "consumer": "billing",
                      **({} if entry.get("store") else {"handler": handler}), **entry}
        self.relays = []
        self.sent = []

    def relay(self, *arguments, brokers=None, **changes):
        relay = Relay(self.database, brokers or self.kafka.brokers, command="inbox")
        file = relay.folder / "relay.toml"
        file.write_text("[[inbox]]\n" + "".join(f"{key} = {literal(value)}\n"
                                                for key, value in {**self.entry, **changes}.items()))
        relay.arguments = ["--config", str(file), *SHORT_SESSION, *arguments]
        self.relays.append(relay)
        return relay

    def send(self, messages, topic=None):
        messages = list(messages)
        for start in range(0, len(messages), 5000):
            self.kafka.tools.run("produce_many", topic=topic or self.topic, messages=messages[start:start + 5000])
        self.sent += messages

    def send_numbered(self, count, keys=20, first=0, **more):
        self.send(message(f"{n}", key=f"k{n % keys}", **more) for n in range(first, first + count))

    def applied(self):
        return self.database.value("SELECT count(*) FROM app.effect")

    def wait_applied(self, count, timeout=60):
        from .process import wait_until
        try:
            wait_until(f"{count} effects", lambda: self.applied() >= count, timeout, 0.05)
        except TimeoutError as late:
            logs = "\n---\n".join(relay.log()[-3000:] for relay in self.relays if relay.process)
            raise TimeoutError(f"{late}: {self.applied()}\n{logs}") from None

    def assert_exact(self, count=None):
        """I13: every message that was sent has exactly one effect, in the order of its key, and the stored offsets
        are those behind the last effects."""
        values = [base64.b64decode(each["value"]) for each in self.sent]
        effects = self.database.query("SELECT payload, key, partition, log_offset, topic FROM app.effect ORDER BY nr")
        seen = [bytes(row[0]) for row in effects]
        assert len(seen) == len(set(seen)), f"doubled: {len(seen) - len(set(seen))}"
        assert set(seen) == set(values), f"lost {len(set(values) - set(seen))}, phantom {len(set(seen) - set(values))}"
        assert count is None or len(seen) == count
        last = {}
        for payload, _, partition, offset, topic in effects:
            assert last.get((topic, partition), -1) < offset, f"inverted at {topic}/{partition} offset {offset}"
            last[(topic, partition)] = offset
        for (topic, partition), offset in last.items():
            stored = self.database.value(
                "SELECT next FROM once.consumer_offset WHERE grp = %s AND topic = %s AND partition = %s",
                (self.entry["group"], topic, partition))
            assert stored == offset + 1, f"{topic}/{partition}: stored {stored}, last effect {offset}"

    def assert_history(self, *topics):
        """I13, I15 against the log as an independent read_committed reader has it."""
        topics = topics or (self.topic,)
        report = check_inbox(self.kafka.read(*topics), *received(self.database, group=self.entry["group"]), self.kafka.ends(*topics))
        assert report.ok, report

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for relay in self.relays:
            if relay.process:
                relay.process.kill()
        self.database.drop()


def literal(value):
    if isinstance(value, list):
        return "[" + ", ".join(literal(each) for each in value) + "]"
    return str(value).lower() if isinstance(value, (bool, int)) else f'"{value}"'
