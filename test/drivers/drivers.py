"""The drivers: what each can do, how it writes a parameter, and what the guide has it write around one."""
import os
import subprocess
from collections import namedtuple

from .toolchains import LANGUAGES

TIMEOUT = 600  # s, for a program that hangs

# place: the placeholder, # is its number. casts: by the value's kind, what `sql/guide/drivers` writes.
# mute_batch: its batches tell no answers.
Driver = namedtuple("Driver", "name language modes place casts styles by_names mute_batch",
                    defaults=({}, ("natural", "untyped", "recipe"), False, False))

ARRAYS = {"jsons": "{}::jsonb[]", "texts": "{}::text[]", "bigints": "{}::bigint[]", "uuids": "{}::uuid[]", "bytess": "{}::bytea[]"}
TYPED = {"json": "{}::jsonb", "int": "{}::int", "bigint": "{}::bigint", "uuid": "{}::uuid", "bytes": "{}::bytea", **ARRAYS}
SPELT = {kind: "CAST({} AS " + cast.removeprefix("{}::") + ")" for kind, cast in TYPED.items()}
EVERY = ("plain", "prepared", "pipeline", "simple", "pooler")

DRIVERS = [
    Driver("psycopg", "Debian", EVERY, "%s"),
    Driver("psycopg2", "Debian", ("plain", "pooler"), "%s", ARRAYS),
    Driver("PostgREST-like", "Debian", ("plain",), "", styles=("recipe",), by_names=True),
    Driver("JDBC", "Java", EVERY, "?", {"json": "?::jsonb"}, mute_batch=True),
    Driver("JdbcTemplate", "Java", ("plain", "pooler"), "?", {"json": "?::jsonb"}),
    Driver("JPA", "Java", ("plain", "pooler"), ":p#", SPELT),
    Driver("asyncpg", "Python", ("plain", "prepared", "pipeline", "pooler"), "$#", TYPED),
    Driver("SQLAlchemy", "Python", ("plain", "prepared", "pooler"), ":p#", SPELT),
    Driver("Django", "Python", ("plain", "prepared", "pooler"), "%s", ARRAYS),
]


def named(names):
    return [next(driver for driver in DRIVERS if driver.name == name) for name in names]


def run(driver, plan):
    """The lines that the driver's program writes. What it complains of is shown when it fails."""
    language = LANGUAGES[driver.language]
    done = subprocess.run([str(word) for word in language.command(driver.name, plan)], env={**os.environ, **language.env},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise RuntimeError(f"{driver.name}: exit {done.returncode}\n{done.stderr.decode()[-3000:]}")
    return done.stdout.decode().splitlines()
