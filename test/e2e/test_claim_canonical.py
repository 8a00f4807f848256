"""The canonical form under random JSON: the same content however it is written, and never two contents as one."""
import json
import random
from decimal import Decimal

import pytest

SEED = 7
ROUNDS = 3000
CHARACTERS = "ab1 \"\\/\u00e9e\u0301\u4e16\U0001f600{}[],:\t\n"


class Number:
    """sign · digits · 10^exponent, written in many ways"""

    def __init__(self, dice):
        self.digits = "0" if dice.random() < 0.1 else str(dice.getrandbits(dice.choice([3, 8, 30, 64, 200])))
        self.exponent = dice.choice([0, 0, -1, 1, -3, 4, -8, 12, dice.randint(-60, 60), dice.randint(-16000, 120000)])
        self.negative = dice.random() < 0.3

    def value(self):
        digits, exponent = self.digits.lstrip("0"), self.exponent
        if not digits:
            return "0"
        stripped = digits.rstrip("0")
        return f"{'-' * self.negative}{stripped}e{exponent + len(digits) - len(stripped)}"

    def spelled(self, dice):
        digits, exponent = self.digits, self.exponent
        zeros = dice.choice([0, 0, 1, 3, 5])
        digits, exponent = digits + "0" * zeros, exponent - zeros
        sign = "-" if self.negative else ""
        if dice.random() < 0.4 and -30 <= exponent <= 0:
            return sign + format(Decimal(digits).scaleb(exponent), "f") if exponent > -28 and len(digits) < 27 else f"{sign}{digits}e{exponent}"
        if dice.random() < 0.5 and len(digits) > 1 and digits[0] != "0":
            return f"{sign}{digits[0]}.{digits[1:]}{dice.choice('eE')}{exponent + len(digits) - 1:+d}"
        return f"{sign}{digits.lstrip('0') or '0'}e{exponent}" if exponent else sign + (digits.lstrip("0") or "0")


def make(dice, depth=0):
    kind = dice.choice("nbsxao" if depth < 5 else "nbsx")
    if kind == "n":
        return Number(dice)
    if kind == "b":
        return dice.choice([True, False, None])
    if kind in "sx":
        return "".join(dice.choice(CHARACTERS) for _ in range(dice.choice([0, 1, 2, 3, 30])))
    if kind == "a":
        return [make(dice, depth + 1) for _ in range(dice.randint(0, 4))]
    return {"".join(dice.choice("abcde\u00e9") for _ in range(dice.randint(0, 3))): make(dice, depth + 1) for _ in range(dice.randint(0, 5))}


def spell(value, dice):
    space = lambda: dice.choice(["", "", " ", "\n", "\t "])
    if isinstance(value, Number):
        return value.spelled(dice)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=dice.random() < 0.5)
    if isinstance(value, list):
        return "[" + ",".join(space() + spell(item, dice) + space() for item in value) + "]"
    if isinstance(value, dict):
        items = list(value.items())
        dice.shuffle(items)
        return "{" + ",".join(f"{space()}{spell(name, dice)}{space()}:{space()}{spell(item, dice)}" for name, item in items) + space() + "}"
    return json.dumps(value)


def identity(value):
    """Equal exactly when the content is."""
    if isinstance(value, Number):
        return "#" + value.value()
    if isinstance(value, list):
        return [identity(item) for item in value]
    if isinstance(value, dict):
        return ["{"] + sorted((name, json.dumps(identity(item))) for name, item in value.items())
    return ["s", value] if isinstance(value, str) else repr(value)


def change(value, dice):
    """A small change somewhere: another value, a field more or less, an order, a level."""
    if isinstance(value, list) and value and dice.random() < 0.8:
        at = dice.randrange(len(value))
        return dice.choice([lambda: value[:at] + [change(value[at], dice)] + value[at + 1:], lambda: value[:at] + value[at + 1:],
                            lambda: value[::-1], lambda: value[:at] + [[value[at]]] + value[at + 1:], lambda: value + [None]])()
    if isinstance(value, dict) and value and dice.random() < 0.8:
        name = dice.choice(sorted(value))
        rest = {key: item for key, item in value.items() if key != name}
        return dice.choice([lambda: {**value, name: change(value[name], dice)}, lambda: rest, lambda: {**rest, name + "z": value[name]},
                            lambda: {**value, "extra": None}, lambda: list(value.values())])()
    if isinstance(value, str):
        return dice.choice([value + "a", value[:-1], value[::-1], [value]])
    return dice.choice([make(dice, 4), [value], {"": value}])


@pytest.fixture
def database(cluster, world_name):
    made = cluster.create_database(world_name)
    yield made
    made.drop()


def test_C4_C5_same_content_same_fingerprint_other_content_another(database):
    dice = random.Random(SEED)
    cursor = database.connect().cursor()
    digests = {}
    for number in range(ROUNDS):
        value = make(dice)
        for other in (value, value, change(value, dice)):
            text = spell(other, dice)
            cursor.execute("SELECT encode(once.fingerprint(%s::jsonb), 'hex')", (text,))
            digest, content = cursor.fetchone()[0], json.dumps(identity(other))
            assert digests.setdefault(digest, content) == content, (SEED, number, text)
            assert digests.setdefault(content, digest) == digest, (SEED, number, text)
    assert len(digests) > 2 * ROUNDS


def test_C8_bytes_differ_when_one_bit_does(database):
    dice = random.Random(SEED)
    cursor = database.connect().cursor()
    seen = {}
    for _ in range(1000):
        data = dice.randbytes(dice.choice([0, 1, 2, 63, 64, 65, 1014, 1015, 1016, 1023, 1024, 1025, 5000]))
        changed = bytearray(data)
        if changed:
            changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
        for each in (data, bytes(changed)):
            cursor.execute("SELECT encode(once.fingerprint_bytes(%s), 'hex')", (each,))
            assert seen.setdefault(cursor.fetchone()[0], each) == each
