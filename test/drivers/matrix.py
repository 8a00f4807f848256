"""The matrix: what drivers ask through real servers (publish → Kafka → inbox handler), and what came of it.

Of each call there are two right outcomes: what was meant, to the byte, or an error. Written as the guide says (style `recipe`)
only the first one is right, but for what PostgreSQL cannot hold.
"""
import base64
import json
from collections import Counter, defaultdict, namedtuple
from functools import lru_cache

from support.inbox import Inbox
from support.pooler import Pooler
from support.process import temporary_folder
from support.world import World

from . import cases
from .cases import Earlier, Event
from .toolchains import LANGUAGES

KINDS_AS_STRINGS = {"json", "uuid", "jsons", "uuids"}
ORDERS = "order-events"  # the topic of the guide
Outcome = namedtuple("Outcome", "kind what")  # kind: equal, refused, other; what: SQLSTATE or driver's error, or what it became
SETUP = """
CREATE ROLE driver LOGIN;
SELECT once.grant_publisher('driver'), once.grant_consumer('driver');
SELECT once.machine_set('drivers', 'new', '[{"from": "new", "event": "pay", "to": "paid"}]');
CREATE TABLE orders (id bigint PRIMARY KEY, state text NOT NULL);
CREATE TABLE account (id bigint PRIMARY KEY, balance int NOT NULL);
GRANT SELECT, UPDATE ON orders, account TO driver;
"""


class Asked(namedtuple("Asked", "driver case mode style tag steps")):
    """One case as one driver is asked for it."""

    @property
    def name(self):
        return f"{self.driver.name}: {self.case.name}, {self.mode}, {self.style}"


def statement(step, driver, style):
    """SQL with the driver's own placeholders, and its casts where the recipe has them."""
    written = []
    for number, argument in enumerate(step.arguments, 1):
        kind, = argument.value
        place = driver.place.replace("#", str(number))
        cast = driver.casts.get(kind, "{}") if style == "recipe" else "{}"
        written.append((f"{argument.name} => " if argument.named else "") + cast.format(place))
    called = f"once.{step.function}({', '.join(written)})"
    return f"SELECT {step.answer} FROM {called}" if step.answer else f"SELECT {called}"


def by_names(step):
    """The step for a caller that knows parameters by name: the functions without overloads."""
    if step.function in ("publish", "publish_text", "publish_bytes"):
        payload = step.function.replace("publish", "payload")
        arguments = [argument._replace(name=payload if argument.name == "payload" else "key_bytes"
                                       if argument.name == "key" and "bytes" in argument.value else argument.name)
                     for argument in step.arguments]
        return step._replace(function="publish_event", arguments=arguments)
    if step.function == "accept":
        return step._replace(function="accept_event", arguments=[
            argument._replace(name="id_bytes") if argument.name == "id" and "bytes" in argument.value else argument
            for argument in step.arguments])
    return step


def publishes(case):
    return isinstance(case.expect, Event) or case.expect == "refused" or case.expect[0] == "many"


class Matrix:
    def __init__(self, cluster, kafka, name):
        self.kafka = kafka
        self.box = Inbox(cluster, kafka, name)
        self.world = World(cluster, kafka, name)
        self.database = self.world.database
        self.database.execute(SETUP)
        self.pooler = Pooler(self.database, users=("driver", "postgres"))
        kafka.create_topic(ORDERS, 4)
        self.answers = []
        self.order = 100
        self.tokens = {}
        self.recipes = {}  # what the code of the guide answered, by driver and the order that it paid
        self.versions = {}

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.pooler.close()
        self.world.close()
        self.box.__exit__()
        self.world.cluster.execute("DROP ROLE driver")

    # Asking

    def ask(self, driver, command):
        """Runs a driver's program over all of its cases."""
        asked = [Asked(driver, case, mode, style, tag := f"{driver.name}/{mode}/{style}/{case.name}", case.steps(tag))
                 for mode in driver.modes for case in cases.CASES if mode in case.modes
                 for style in driver.styles if style in case.styles]
        asked = [each for each in asked if self.makes_sense(each)]
        plan = {"server": self.place(), "pooler": {**self.place(), "port": self.pooler.port},
                "modes": {mode: [self.planned(number, each) for number, each in enumerate(asked) if each.mode == mode] for mode in driver.modes}}
        order = self.order = self.order + 1
        if not driver.by_names:
            plan["recipe"] = self.recipe(driver, order)
        file = temporary_folder("drivers") / "plan.json"
        file.write_text(json.dumps(plan))
        lines = command(driver, file)
        answered = {}
        for line in map(json.loads, lines):
            if "version" in line:
                self.versions[driver.name] = line["version"]
            elif "recipe" in line:
                self.recipes[driver.name] = order, line["recipe"]
            else:
                answered[line["id"]] = line
        self.answers += [(each, answered.get(number)) for number, each in enumerate(asked)]

    def recipe(self, driver, order):
        self.database.execute("INSERT INTO orders VALUES (%s, 'new')", (order,))
        self.database.execute("INSERT INTO account VALUES (%s, 100)", (order,))
        place = self.place()
        return {"file": str(LANGUAGES[driver.language].recipe_file(driver.name)), "order": order, "message": cases.uuid_of(driver.name),
                "key": f"payment-{order}", "url": "postgresql://{user}@{host}:{port}/{database}".format(**place)}

    def place(self):
        return {"host": "127.0.0.1", "port": self.database.cluster.port, "user": "driver", "database": self.database.name}

    @staticmethod
    def makes_sense(asked):
        """Untyped needs something that would have a type; a batch that keeps answers to itself can only publish."""
        if asked.mode == "pipeline" and asked.driver.mute_batch and not publishes(asked.case):
            return False
        if asked.driver.by_names and asked.case.name == "JSON null":
            return False  # null in its JSON object is the tombstone
        return asked.style != "untyped" or any(kind in KINDS_AS_STRINGS for step in asked.steps for argument in step.arguments for kind in argument.value)

    def planned(self, number, asked):
        steps = [by_names(step) if asked.driver.by_names else step for step in asked.steps]
        return {"id": number, "style": asked.style, "steps": [
            {"sql": statement(step, asked.driver, asked.style), "answer": step.answer, "function": step.function,
             "names": [argument.name for argument in step.arguments],
             "values": [self.filled(argument.value) for argument in step.arguments]} for step in steps]}

    def filled(self, given):
        (kind, content), = given.items()
        if isinstance(content, Earlier):
            return {kind: content._asdict()}
        if content == "@topic":
            return {kind: self.box.topic}
        if isinstance(content, str) and content.startswith("@token "):
            if content not in self.tokens:
                self.tokens[content] = self.database.value("SELECT once.issue_token('drivers', '1 hour')::text")
            return {kind: self.tokens[content]}
        return given

    # Shipping and judging

    def ship(self):
        self.world.relay().drain()
        self.box.relay().drain()
        self.box.relay(topic=ORDERS, group=f"{self.world.name}.orders", consumer="orders").drain()

    def judge(self):
        """[(asked, outcome)], and what nobody owned up to."""
        self.arrived = Arrived(self)
        # Events whose ids nobody was told are found by what they are, among those that the others leave.
        told = sorted(range(len(self.answers)), key=lambda number: "done" in (self.answers[number][1] or {}))
        outcomes = {number: self.outcome(*self.answers[number]) for number in told}
        return [(asked, outcomes[number]) for number, (asked, _) in enumerate(self.answers)], self.arrived.unclaimed()

    def wrong_recipes(self):
        """What the code of the guide did otherwise than it says, by driver."""
        events = defaultdict(list)
        for message in self.kafka.read(ORDERS):
            events[message.key].append((message.value, dict(message.headers).get("trace", b"0af76519")))
        for name, (order, answer) in self.recipes.items():
            wanted = {"receive": ["new", "duplicate"], "post": [[201, {"paid": 3}], [201, {"paid": 3}], [422, None]]}
            state = self.database.query("SELECT state, balance FROM orders JOIN account USING (id) WHERE id = %s", (order,))
            found = events[str(order).encode()]
            effects = self.box.database.value("SELECT count(*) FROM app.effect WHERE topic = %s AND key = %s", (ORDERS, str(order)))
            if (answer, state, effects) != (wanted, [("paid", 102)], 1) \
                    or found != [(f'{{"id": {order}, "state": "paid"}}'.encode(), b"0af76519")]:
                yield f"{name}: the recipe answers {answer}, leaves {state}, {effects} effects and {found}"

    def outcome(self, asked, answer):
        if answer is None:
            return Outcome("other", "no answer")
        if "done" in answer:
            return self.unnamed(asked)
        if "rows" not in answer:
            return Outcome("refused", answer.get("sqlstate") or answer["error"].split(":")[0])
        try:
            return self.found(asked, answer["rows"])
        except (IndexError, KeyError, TypeError, ValueError):
            return Outcome("other", f"answers {answer['rows']}")

    def unnamed(self, asked):
        """Of a batch that told no ids."""
        if asked.case.expect[0] == "many":
            wrong = self.arrived.many_as_meant(asked.tag, asked.case.expect)
        else:
            wrong = self.arrived.like(len(asked.steps), meant(asked))
        return Outcome("equal", None) if wrong is True else Outcome("other", wrong)

    def found(self, asked, rows):
        expect = meant(asked)
        if isinstance(expect, Event):
            found = [self.arrived.as_meant(row[0][0], expect) for row in rows]
        elif expect[0] == "many":
            found = [self.arrived.many_as_meant(asked.tag, expect)] if plain(rows) == [[[str(cases.BATCH)]]] else [f"{rows[0][0]} events"]
        elif expect[0] == "accept":
            found = [plain(rows) == [[["new"]], [["duplicate"]]] or rows, self.same_id(expect[1](asked.tag))]
        elif expect[0] == "claim":
            found = list(claimed(rows, *expect[1:]))
        else:
            found = [plain(rows) == plain(expect) or rows]
        wrong = [each for each in found if each is not True]
        return Outcome("other", f"{wrong[0]}") if wrong else Outcome("equal", None)

    def same_id(self, given):
        """What the driver sent is the id that was meant: to everybody else it is a duplicate."""
        (kind, content), = given.items()
        typed = {"bytes": "bytea", "int": "bigint"}.get(kind, kind)
        content = base64.b64decode(content) if kind == "bytes" else content
        verdict = self.database.value(f"SELECT once.accept('drivers', %s::{typed})::text", (content,))
        return verdict == "duplicate" or "another id"


def meant(asked):
    """What has to come of a case. Where an error is expected, what had arrived if there were none."""
    if asked.case.expect == "refused":
        return Event(asked.steps[0].arguments[1].value, cases.NULL, [])
    return asked.case.expect


def plain(rows):
    return [[[None if each is None else str(each) for each in row] for row in step] for step in rows]


def claimed(rows, response, body):
    (first, *_), = rows[0]
    (second, status, answered, sent), = rows[2]
    ((fourth,),) = rows[3]
    verdicts = [first, second, str(status), fourth]
    yield verdicts == ["new", "replay", "201", "mismatch"] or verdicts
    yield read_json(answered) == response.get("json") or f"response {answered}"
    yield (sent and sent["bytes"]) == body.get("bytes") or f"body {sent}"


def read_json(answered):
    if isinstance(answered, str):
        return json.loads(answered)
    return answered and answered["json"]


class Arrived:
    """What stands in Kafka and what the handler got of it."""

    def __init__(self, matrix):
        self.database = matrix.database
        self.messages = {dict(message.headers)["once-id"].decode(): message for message in matrix.kafka.read(matrix.box.topic)}
        self.effects = {identity: (key, payload if payload is None else bytes(payload), headers) for identity, key, payload, headers in
                        matrix.box.database.query("SELECT id, key, payload, headers FROM app.effect WHERE topic = %s", (matrix.box.topic,))}
        self.counted = matrix.box.database.value("SELECT count(*) FROM app.effect WHERE topic = %s", (matrix.box.topic,))
        self.by_key = defaultdict(list)
        for identity, message in self.messages.items():
            self.by_key[message.key].append(identity)
        self.claimed = Counter()
        self.spelling = lru_cache(None)(lambda text: self.database.value("SELECT %s::jsonb::text", (text,)).encode())

    def unclaimed(self):
        """Events of calls that failed, effects without an event, and the reverse."""
        return [f"an event that no call reported: {self.messages[identity].value!r}" for identity in self.messages.keys() - self.claimed.keys()] \
            + [f"event {identity} came {times} times" for identity, times in self.claimed.items() if times > 1] \
            + [f"message without effect: {identity}" for identity in self.messages.keys() - self.effects.keys()] \
            + [f"{self.counted} effects of {len(self.messages)} messages"] * (self.counted != len(self.messages))

    def bytes_of(self, given):
        """What Kafka is to have of a payload or key."""
        (kind, content), = given.items()
        if kind == "json":  # PostgreSQL's own spelling
            return self.spelling(json.dumps(content))
        return None if kind == "null" else base64.b64decode(content) if kind == "bytes" else str(content).encode()

    def as_meant(self, identity, expect):
        return self.differs(identity, self.bytes_of(expect.value), self.bytes_of(expect.key), expect.headers) or True

    def differs(self, identity, value, key, headers):
        self.claimed[identity] += 1
        message = self.messages.get(identity)
        if message is None:
            return "no such message"
        sent = [header for header in message.headers if not header[0].startswith("once-")]
        if message.value != value:
            return f"payload {message.value!r}"
        if message.key != key:
            return f"key {message.key!r}"
        if sorted(sent, key=lambda header: header[0]) != sorted(headers, key=lambda header: header[0]):
            return f"headers {sent}"
        handled = self.effects.get(identity)
        if handled is None:
            return "no effect"
        if handled[1] != value or handled[0] != as_text(key) or sorted(cases.headers_of(handled[2] or {}), key=str) != sorted(headers, key=str):
            return f"in the handler {handled}"
        return None

    def like(self, count, expect):
        """So many events that nobody named are what was meant."""
        value, key = self.bytes_of(expect.value), self.bytes_of(expect.key)
        found = [identity for identity in self.by_key[key] if identity not in self.claimed and self.messages[identity].value == value][:count]
        wrong = [self.differs(identity, value, key, expect.headers) for identity in found]
        return next(filter(None, wrong), len(found) == count or f"{len(found)} events")

    def many_as_meant(self, tag, expect):
        _, kind, content = expect
        one = {"jsons": "json", "texts": "text", "bytess": "bytes"}[kind]
        for number in range(cases.BATCH):
            key = f"{tag}/{number}".encode()
            found = self.by_key[key]
            if len(found) != 1:
                return f"{len(found)} events with key {key}"
            wrong = self.differs(found[0], self.bytes_of(cases.value(one, content(number))), key, [])
            if wrong:
                return f"{number}: {wrong}"
        return True


def as_text(key):
    """A key as handlers get it."""
    try:
        text = None if key is None else key.decode()
    except UnicodeDecodeError:
        return "\\x" + key.hex()
    return text if text is None or "\0" not in text else "\\x" + key.hex()
