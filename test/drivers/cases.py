"""What each driver is asked: calls with values, and what has to come of them. Knows no driver and no server.

A value is {kind: value} with kind json, text, int, bigint (as a string), uuid, bytes (base64), null, or one of these with `s`: an array.
It is bound in one of three styles:

- natural: as a programmer of the language has it (a dict, a list, a UUID, bytes), no casts in the statement;
- untyped: JSON and uuids as strings, no casts (cases without such values are left out);
- recipe: as `sql/guide/drivers` says.
"""
import base64
import hashlib
import json
import uuid
from collections import namedtuple

STYLES = ("natural", "untyped", "recipe")
EMOJI = "😀 e\u0301 漢字 \u00df"
EVERY_BYTE = bytes(range(256))
BIG = 2**53 + 1  # no double has it: never inside JSON, which JavaScript reads as doubles
BATCH = 1000
MOST_BIGINT = 2**63 - 1
UUID = "018f3a5e-8f00-7c3a-9a55-0242ac120003"

Step = namedtuple("Step", "answer function arguments")  # answer: the select list, or None for the function's value
Argument = namedtuple("Argument", "name value named")   # named: written `name => …`
# steps(tag) gives the steps for one run, whose ids and keys hold `tag`. expect: an Event, "refused", or the answers.
Case = namedtuple("Case", "name steps expect styles modes")
Event = namedtuple("Event", "value key headers")
# What an argument gets of an earlier step's first row.
Earlier = namedtuple("Earlier", "step column")

SINGLE = ("plain", "prepared", "pipeline", "simple", "pooler")
SEVERAL = ("plain", "prepared", "simple", "pooler")  # a step needs what an earlier one answered

# What no server can tell from what was meant, by case: a list without elements is spelt `{}` by some drivers, which is a JSON object,
# and by Hibernate as NULL, which is a tombstone.
SILENT = {"empty array": {"payload b'{}'": "{}", "payload None": "NULL"}}


def value(kind, content=None):
    if kind == "bytes":
        content = base64.b64encode(content).decode()
    elif kind == "bytess":
        content = [base64.b64encode(each).decode() for each in content]
    elif kind == "bigint":
        content = str(content)
    elif kind == "bigints":
        content = [str(each) for each in content]
    return {kind: content}


NULL = value("null")


def call(answer, function, *arguments):
    """Arguments are (name, value) in the order of the function; with a `*` before its name it is passed by name."""
    return Step(answer, function, [Argument(name.lstrip("*"), given, name[0] == "*") for name, given in arguments])


def headers_of(document):
    """What Kafka has of a headers object."""
    def encoded(each):
        if each is None:
            return None
        if isinstance(each, dict):
            return bytes.fromhex(each["$bytes"])
        return (each if isinstance(each, str) else json.dumps(each)).encode()

    return [(name, encoded(each)) for name, several in document.items()
            for each in (several if isinstance(several, list) else [several])]


HEADERS = {"text": "x", "number": 1.5, "true": True, "nothing": None, "several": ["a", "b", None], "raw": {"$bytes": "00ff"},
           "emoji": EMOJI}


def publish(name, function, payload, key=NULL, headers=None, *, refused=False, styles=STYLES, modes=SINGLE):
    arguments = [("payload", payload)]
    if key is not NULL:
        arguments.append(("*key", key))
    if headers is not None:
        arguments.append(("*headers", value("json", headers)))
    step = lambda tag: call(None, function, ("topic", value("text", "@topic")), *arguments)
    if refused:
        return Case(name, lambda tag: [step(tag)], "refused", styles, modes)
    return Case(name, lambda tag: [step(tag)] * 2, Event(payload, key, headers_of(headers or {})), styles, modes)


def publish_many(name, function, kind, content, styles=STYLES):
    """BATCH events in one call: keys tell whose they are."""
    def steps(tag):
        return [call(None, function, ("topic", value("text", "@topic")), ("payloads", value(kind, [content(n) for n in range(BATCH)])),
                     ("keys", value("texts", [f"{tag}/{n}" for n in range(BATCH)])))]

    return Case(name, steps, ("many", kind, content), styles, SINGLE)


def accept(name, identity, styles=STYLES):
    """Twice: new, then duplicate. `identity` makes an id of a tag."""
    steps = lambda tag: [call(None, "accept", ("consumer", value("text", "drivers")), ("id", identity(tag)))] * 2
    return Case(name, steps, ("accept", identity), styles, SINGLE)


def accept_many(name, function, kind, identities):
    steps = lambda tag: [call("ordinal, verdict", function, ("consumer", value("text", "drivers")), ("ids", value(kind, identities(tag))))]
    return Case(name, steps, [[[1, "new"], [2, "new"], [3, "duplicate"]]], STYLES, SINGLE)


def claim(name, request, other, response, body, function="claim"):
    """A first request, its answer, a retry that gets it, and another request under the same key."""
    def steps(tag):
        asked = [("scope", value("text", "drivers")), ("key", value("text", f"claim-{tag}"))]
        return [call("verdict, token", function, *asked, ("request", request)),
                call(None, "complete", *asked, ("token", {"uuid": Earlier(0, 1)}), ("response", response), ("*status", value("int", 201)),
                     ("*body", body)),
                call("verdict, status, response, body", function, *asked, ("request", request)),
                call("verdict", function, *asked, ("request", other))]

    return Case(name, steps, ("claim", response, body), STYLES, SEVERAL)


def transition(name, entity, styles=STYLES):
    def steps(tag):
        return [call("verdict, to_state, version", "transition", ("machine", value("text", "drivers")), ("entity", entity(tag)),
                     ("event", value("text", "pay")), ("*event_id", value("text", f"event-{tag}")))] * 2

    return Case(name, steps, [[["moved", "paid", 1]], [["duplicate", None, 1]]], styles, SINGLE)


def redeem_token():
    """Tokens are issued beforehand, one for each tag."""
    steps = lambda tag: [call(None, "redeem_token", ("scope", value("text", "drivers")), ("token", {"uuid": f"@token {tag}"}))] * 2
    return Case("redeem_token", steps, [[["ok"]], [["duplicate"]]], STYLES, SINGLE)


def digest(tag):
    return hashlib.sha256(tag.encode()).digest()


def number_of(tag):
    """63 bits that follow from a text."""
    return int.from_bytes(digest(tag)[:8], "big") >> 1


def uuid_of(tag):
    return str(uuid.UUID(bytes=digest(tag)[:16], version=4))


OBJECT = {"id": 2**53 - 1, "text": EMOJI, "list": [1, "2", None], "nested": {"price": 1.25, "yes": True}}
X = value("json", {"x": 1})
PLAIN = value("text", "x")

CASES = [
    publish("object", "publish", value("json", OBJECT)),
    publish("array", "publish", value("json", [1, "2", {"three": 3}])),
    publish("array of texts", "publish", value("json", ["1", "2"])),
    publish("empty array", "publish", value("json", [])),
    publish("string", "publish", value("json", "a string")),
    publish("number", "publish", value("json", 42)),
    publish("emoji", "publish", value("json", EMOJI)),
    publish("JSON null", "publish", value("json", None), styles=("untyped", "recipe")),
    publish("NUL in JSON", "publish", value("json", {"text": "a\0b"}), refused=True),
    publish("bytes as JSON", "publish", value("bytes", EVERY_BYTE), refused=True, styles=("natural",)),
    publish("null", "publish", NULL),
    publish("text", "publish_text", value("text", "plain text, no JSON")),
    publish("text emoji", "publish_text", value("text", EMOJI)),
    publish("NUL in text", "publish_text", value("text", "a\0b"), refused=True),
    publish("null text", "publish_text", NULL),
    publish("object as text", "publish_text", value("json", {"x": 1}), styles=("natural",)),
    publish("bytes as text", "publish_text", value("bytes", EVERY_BYTE), refused=True, styles=("natural",)),
    publish("bytes 0..255", "publish_bytes", value("bytes", EVERY_BYTE)),
    publish("NUL byte", "publish_bytes", value("bytes", b"\0")),
    publish("no bytes", "publish_bytes", value("bytes", b"")),
    publish("null bytes", "publish_bytes", NULL),
    publish("text key", "publish_text", PLAIN, value("text", EMOJI)),
    publish("int key", "publish_text", PLAIN, value("int", 42)),
    publish("bigint key", "publish_text", PLAIN, value("bigint", BIG)),
    publish("largest bigint key", "publish_text", PLAIN, value("bigint", MOST_BIGINT)),
    publish("uuid key", "publish_text", PLAIN, value("uuid", UUID)),
    publish("bytes key", "publish_text", PLAIN, value("bytes", EVERY_BYTE)),
    publish("text as bytes key", "publish_text", PLAIN, value("bytes", b"key")),
    publish("bigint key of JSON", "publish", X, value("bigint", BIG)),
    publish("uuid key of JSON", "publish", X, value("uuid", UUID)),
    publish("bytes key of JSON", "publish", X, value("bytes", EVERY_BYTE)),
    publish("int key of bytes", "publish_bytes", value("bytes", b"\0\xff"), value("int", 42)),
    publish("bytes key of bytes", "publish_bytes", value("bytes", b"\0\xff"), value("bytes", EVERY_BYTE)),
    publish("headers", "publish_text", PLAIN, value("text", "k"), HEADERS),
    publish("no headers", "publish_text", PLAIN, value("text", "k"), {}),
    publish_many("batch of 1,000", "publish_many", "jsons", lambda n: {"n": n, "text": EMOJI}),
    publish_many("batch of 1,000 texts", "publish_many_text", "texts", lambda n: f'{n} "quoted", \\ {{brace}} {EMOJI}'),
    publish_many("batch of 1,000 bytes", "publish_many_bytes", "bytess", lambda n: bytes([n % 256, 0, 255])),
    accept("accept text", lambda tag: value("text", f"{EMOJI} {tag}")),
    accept("accept int", lambda tag: value("int", number_of(tag) % 2**31)),
    accept("accept bigint", lambda tag: value("bigint", number_of(tag))),
    accept("accept uuid", lambda tag: value("uuid", uuid_of(tag))),
    accept("accept bytes", lambda tag: value("bytes", b"\0\xff" + tag.encode())),
    accept_many("accept_many", "accept_many", "texts", lambda tag: [f"1 {tag}", f"2 {tag}", f"1 {tag}"]),
    accept_many("accept_many_uuid", "accept_many_uuid", "uuids", lambda tag: [uuid_of(f"{n} {tag}") for n in (1, 2, 1)]),
    accept_many("accept_many_bigint", "accept_many_bigint", "bigints", lambda tag: [number_of(f"{n} {tag}") for n in (1, 2, 1)]),
    claim("claim object", value("json", OBJECT), X, value("json", OBJECT), value("bytes", EVERY_BYTE)),
    claim("claim array", value("json", [1, {"two": 2}]), X, value("json", [1, "2", {"three": 3}]), value("bytes", b"")),
    claim("claim without bodies", NULL, X, NULL, NULL),
    claim("claim_bytes", value("bytes", EVERY_BYTE), value("bytes", b"other"), value("json", {"ok": EMOJI}), value("bytes", b"\0"), "claim_bytes"),
    transition("transition", lambda tag: value("text", f"{EMOJI} {tag}")),
    transition("transition of a number", lambda tag: value("bigint", number_of(tag)), styles=("natural",)),
    redeem_token(),
]
