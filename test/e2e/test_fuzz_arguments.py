"""Every function in C with arguments nobody would pass: an answer or a proper SQLSTATE, never an internal error or a crash.

The catalog says which functions there are, so that a new one cannot be forgotten. FUZZ_CALLS and FUZZ_SEED: the long form.
"""
import os
import random

import psycopg2
import pytest

CALLS = int(os.environ.get("FUZZ_CALLS", "3000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
TEXTS = ["", "a", "k1", "k2", "s", "orders", "é", "x" * 255, "x" * 256, "x" * 70000, "a\nb", "\x7f", " ", "'", "\\", "{}", "[1,2]", "null", "0", "-1",
         "9223372036854775808", "018f3a5e-8f00-7c3a-9a55-0242ac120002", "\U0001f600" * 60, "machine", "job", "{\"a\":", "_", "."]
NUMBERS = [0, 1, 2, -1, 3, 7, 100, 8191, 8192, 2**31 - 1, -2**31]
VALUES = {
    "text": TEXTS,
    "name": TEXTS[:10],
    "bytea": [b"", b"\x00", b"abc", bytes(range(256)), b"\xff" * 70000],
    "integer": NUMBERS,
    "bigint": NUMBERS + [2**40, 2**40 + 9000, 2**63 - 1, -2**63],
    "boolean": [True, False],
    "uuid": ["018f3a5e-8f00-7c3a-9a55-0242ac120002", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "jsonb": ["{}", "[]", "null", "1", "\"x\"", "1e131071", "-1e-16000", "{\"a\": 1}", "{\"a\": null, \"once-id\": \"x\"}", "{\"\": {\"b\": [1, [2, {}]]}}",
              "[" * 900 + "]" * 900, "{\"k\": \"" + "v" * 70000 + "\"}", "{" + ",".join(f'"f{i}": "{i}"' for i in range(300)) + "}", "{\"" + "n" * 300 + "\": \"v\"}"],
    "json": ["{}", "null", "{\"a\":1,\"a\":2}", "\"\\ud83d\\ude00\""],
    "interval": ["0", "1 s", "-1 s", "1 month", "1000 years", "2000 years", "178000000 years", "-178000000 years", "1 us"],
    "timestamp with time zone": ["infinity", "-infinity", "2000-01-01", "294276-12-31", "4713-01-01 BC", "now"],
    "pg_snapshot": ["1:1:", "10:20:10,14", "1:9223372036854775807:", "700:800:750"],
    "xid8": ["0", "3", "18446744073709551615"],
    "smallint": [0, 1, -1, 32767],
    "pg_lsn": ["0/0", "FFFFFFFF/FFFFFFFF", "0/1000028"],
    "regclass": ["once.lane", "pg_class", "0"],
    "oid": [0, 1259, 4294967295],
}
# Of these one call changes what all others rely on, or waits for the outside.
LEFT_OUT = {"once.wait"}
IN_C = "FROM pg_proc WHERE pronamespace = 'once'::regnamespace AND prolang = (SELECT oid FROM pg_language WHERE lanname = 'c') AND prorettype <> 'trigger'::regtype"


def functions(cursor):
    cursor.execute(f"SELECT oid::regproc::text, ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes) t), provariadic <> 0, pronargdefaults {IN_C} ORDER BY oid")
    # The server lets nobody call what takes `internal` from SQL.
    return [row for row in cursor.fetchall() if row[0] not in LEFT_OUT and "internal" not in row[1]]


def value(dice, kind):
    if dice.random() < 0.08:
        return None
    if kind.endswith("[]"):
        items = [value(dice, kind[:-2]) for _ in range(dice.choice([0, 1, 2, 3, 40]))]
        return [[item, item] for item in items] if items and dice.random() < 0.1 else items
    given = dice.choice(VALUES[kind])
    return psycopg2.Binary(given) if isinstance(given, bytes) else given


def call(dice, name, kinds, variadic, defaults):
    count = len(kinds) - (dice.randint(0, defaults) if dice.random() < 0.4 else 0)
    arguments = [value(dice, kind) for kind in kinds[:count]]
    marks = [f"%s::{kind}" for kind in kinds[:count]]
    if variadic and count == len(kinds):
        marks[-1] = "VARIADIC " + marks[-1]
    return f"SELECT * FROM {name}({', '.join(marks)})", arguments


@pytest.fixture
def database(cluster, world_name):
    made = cluster.create_database(world_name)
    yield made
    made.drop()


def test_fuzz_every_function_in_c(database):
    dice = random.Random(SEED)
    connection = database.connect()
    cursor = connection.cursor()
    cursor.execute("SELECT once.machine_set('machine', 'a', '[{\"from\": \"a\", \"event\": \"k1\", \"to\": \"a\"}]')")
    cursor.execute("SELECT once.lease('job', 'me', '1 h'); SET statement_timeout = '300ms'; SET client_min_messages = error")
    pid = connection.info.backend_pid
    known = functions(cursor)
    assert len(known) > 40
    answered, wrong = set(), {}
    for number in range(CALLS):
        function = known[number % len(known)]
        statement, arguments = call(dice, *function)
        try:
            cursor.execute(statement, arguments)
            cursor.fetchall()
            answered.add(function[0])
        except psycopg2.Error as error:
            if not error.pgcode or error.pgcode[:2] in ("XX", "58", "53"):
                wrong.setdefault((function[0], str(error)[:40]), f"call {number}: {str(cursor.query or statement)[:300]}: {error}")
        assert connection.closed == 0, f"seed {SEED}, call {number}: {statement} {str(arguments)[:300]}"
    cursor.execute("SELECT pg_backend_pid()")
    assert cursor.fetchone()[0] == pid
    assert not wrong, f"seed {SEED}\n" + "\n".join(wrong.values())
    assert len(answered) > 0.8 * len({name for name, *_ in known})  # else the values are too wild to get far
