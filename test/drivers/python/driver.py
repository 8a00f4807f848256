"""driver.py <driver> <plan.json>: asks what the plan says through one Python driver, and writes a JSON line for each case."""
import asyncio
import base64
import decimal
import enum
import importlib.util
import json
import sys
import uuid

ARRAYS = {"jsons": "json", "texts": "text", "bigints": "bigint", "uuids": "uuid", "bytess": "bytes"}


class Driver:
    """One connection. `run` gives the first rows of one statement after another."""

    @staticmethod
    def all_of(cursor):
        return [list(row) for row in cursor.fetchall()]

    def __init__(self, plan, mode):
        self.plan = plan
        self.mode = mode
        self.place = plan["pooler" if mode == "pooler" else "server"]
        self.open()

    def json(self, content, style):
        return content if style == "natural" else json.dumps(content)

    def uuid(self, content, style):
        return content if style == "untyped" else uuid.UUID(content)

    def bind(self, given, style, earlier):
        (kind, content), = given.items()
        if kind in ARRAYS:
            return [self.bind({ARRAYS[kind]: each}, style, earlier) for each in content]
        if kind == "null":
            return None
        if isinstance(content, dict) and "step" in content:
            return earlier[content["step"]][0][content["column"]]
        if kind == "bytes":
            return base64.b64decode(content)
        if kind == "bigint":
            return int(content)
        return getattr(self, kind)(content, style) if kind in ("json", "uuid") else content

    def run(self, case):
        rows = []
        for step in case["steps"]:
            rows.append(self.ask(step["sql"], [self.bind(each, case["style"], rows) for each in step["values"]]))
        return rows

    def close(self):
        self.connection.close()


class Psycopg(Driver):
    def open(self):
        import psycopg
        from psycopg.types.json import Jsonb
        self.version, self.jsonb = psycopg.__version__, Jsonb
        # An error in a pipeline takes along what was to be prepared behind it, and psycopg does not notice.
        threshold = {"prepared": 0, "pipeline": None, "pooler": None}.get(self.mode, 5)
        factory = psycopg.ClientCursor if self.mode == "simple" else psycopg.Cursor
        place = {("dbname" if name == "database" else name): each for name, each in self.place.items()}
        self.connection = psycopg.connect(**place, autocommit=True, prepare_threshold=threshold, cursor_factory=factory)

    def json(self, content, style):
        return self.jsonb(content) if style == "recipe" else super().json(content, style)

    def ask(self, sql, values):
        return self.all_of(self.connection.execute(sql, values))

    def run(self, case):
        if self.mode != "pipeline":
            return super().run(case)
        with self.connection.pipeline():
            cursors = [self.connection.execute(step["sql"], [self.bind(each, case["style"], None) for each in step["values"]])
                       for step in case["steps"]]
            return [self.all_of(cursor) for cursor in cursors]

    @staticmethod
    def sqlstate(error):
        return getattr(error, "sqlstate", None)


class Psycopg2(Driver):
    def open(self):
        import psycopg2
        import psycopg2.extras
        self.version, self.wrapped = psycopg2.__version__.split()[0], psycopg2.extras.Json
        self.place = {("dbname" if name == "database" else name): each for name, each in self.place.items()}
        psycopg2.extras.register_uuid()
        self.connection = psycopg2.connect(**self.place)
        self.connection.autocommit = True

    def json(self, content, style):
        return self.wrapped(content) if style == "recipe" else super().json(content, style)

    def ask(self, sql, values):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return self.all_of(cursor)

    @staticmethod
    def sqlstate(error):
        return getattr(error, "pgcode", None)


class Rest(Psycopg2):
    """A caller as PostgREST is: it knows functions by their names, parameters by theirs, has one JSON object, and looks into the
    catalog for the types. Of several functions that fit it takes none."""

    SQL = """SELECT p.oid, coalesce(p.proargnames[1:p.pronargs], '{}'), p.proargtypes::oid[]::regtype[]::text[]
             FROM pg_proc p
             WHERE p.pronamespace = 'once'::regnamespace AND p.proname = %s
               AND %s <@ p.proargnames[1:p.pronargs]
               AND p.proargnames[1:p.pronargs - p.pronargdefaults] <@ %s::text[]"""

    def rest(self, given, earlier):
        (kind, content), = given.items()
        if isinstance(content, dict) and "step" in content:
            return earlier[content["step"]][0][content["column"]]
        if kind in ("bytes", "bytess"):
            encoded = ["\\x" + base64.b64decode(each).hex() for each in (content if kind == "bytess" else [content])]
            return encoded if kind == "bytess" else encoded[0]
        return content

    def run(self, case):
        rows = []
        for step in case["steps"]:
            body = {name: self.rest(each, rows) for name, each in zip(step["names"], step["values"])}
            names = sorted(body)
            with self.connection.cursor() as cursor:
                cursor.execute(self.SQL, (step["function"], names, names))
                found = cursor.fetchall()
                if len(found) != 1:
                    raise LookupError(f"{len(found)} functions fit once.{step['function']}({', '.join(names)}): PGRST203")
                _, parameters, types = found[0]
                typed = dict(zip(parameters, types))
                declared = ", ".join(f'"{name}" {typed[name]}' for name in names)
                passed = ", ".join(f'"{name}" := body."{name}"' for name in names)
                answer = step["answer"] or "value"
                cursor.execute(f"SELECT to_json(answered) FROM (SELECT {answer} FROM json_to_record(%s::json) AS body({declared}), "
                               f"LATERAL once.{step['function']}({passed}) AS value) AS answered", (json.dumps(body),))
                rows.append([[self.decoded(each) for each in row[0].values()] for row in cursor.fetchall()])
        return rows

    @staticmethod
    def decoded(each):
        return bytes.fromhex(each[2:]) if isinstance(each, str) and each.startswith("\\x") else each


class Asyncpg(Driver):
    def open(self):
        import asyncpg
        self.version = asyncpg.__version__
        self.loop = asyncio.new_event_loop()
        more = {"statement_cache_size": 0} if self.mode == "pooler" else {}
        self.connection = self.loop.run_until_complete(asyncpg.connect(**self.place, **more))

    async def fetch(self, sql, values):
        if self.mode == "prepared":
            return await (await self.connection.prepare(sql)).fetch(*values)
        async with self.connection.transaction():  # a pooler keeps a session for a transaction
            return await self.connection.fetch(sql, *values)

    def ask(self, sql, values):
        return [list(row) for row in self.loop.run_until_complete(self.fetch(sql, values))]

    def run(self, case):
        if self.mode != "pipeline":
            return super().run(case)
        several = [[self.bind(each, case["style"], None) for each in step["values"]] for step in case["steps"]]
        rows = self.loop.run_until_complete(self.connection.fetchmany(case["steps"][0]["sql"], several))
        each = len(rows) // len(several)
        return [[list(row) for row in rows[n * each:(n + 1) * each]] for n in range(len(several))]

    def close(self):
        self.loop.run_until_complete(self.connection.close())

    @staticmethod
    def sqlstate(error):
        return getattr(error, "sqlstate", None)


class Sqlalchemy(Driver):
    def open(self):
        import sqlalchemy
        self.version, self.text = sqlalchemy.__version__, sqlalchemy.text
        url = sqlalchemy.URL.create("postgresql+psycopg", self.place["user"], host=self.place["host"], port=self.place["port"],
                                    database=self.place["database"])
        options = {"prepare_threshold": {"prepared": 0, "pooler": None}.get(self.mode, 5)}
        self.connection = sqlalchemy.create_engine(url, connect_args=options).connect()

    def ask(self, sql, values):
        with self.connection.begin():
            rows = self.connection.execute(self.text(sql), {f"p{n}": each for n, each in enumerate(values, 1)})
            return [list(row) for row in rows]

    @staticmethod
    def sqlstate(error):
        return getattr(getattr(error, "orig", error), "sqlstate", None)


class Django(Driver):
    def open(self):
        import django
        from django.conf import settings
        from django.db import connections
        from django.db.backends.postgresql.psycopg_any import Jsonb
        self.version, self.jsonb = django.get_version(), Jsonb
        if not settings.configured:
            settings.configure(DATABASES={"default": self.setting({}), "plain": self.setting({}),
                                          "prepared": self.setting({"prepare_threshold": 0, "server_side_binding": True}),
                                          "pooler": self.setting({"prepare_threshold": None}, "pooler")})
            django.setup()
        self.connection = connections[self.mode]

    def setting(self, options, place="server"):
        place = self.plan[place]
        return {"ENGINE": "django.db.backends.postgresql", "NAME": place["database"], "USER": place["user"], "HOST": place["host"],
                "PORT": place["port"], "OPTIONS": options}

    def json(self, content, style):
        return self.jsonb(content) if style == "recipe" else super().json(content, style)

    def ask(self, sql, values):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return self.all_of(cursor)

    @staticmethod
    def sqlstate(error):
        return getattr(error.__cause__, "sqlstate", None)


DRIVERS = {"psycopg": Psycopg, "psycopg2": Psycopg2, "PostgREST-like": Rest, "asyncpg": Asyncpg, "SQLAlchemy": Sqlalchemy, "Django": Django}


def shown(each):
    """A value as JSON, as the driver gave it."""
    if isinstance(each, (bytes, memoryview)):
        return {"bytes": base64.b64encode(bytes(each)).decode()}
    if isinstance(each, (uuid.UUID, enum.Enum, decimal.Decimal)):
        return str(each)
    return {"json": each} if isinstance(each, (dict, list)) else each


def say(line):
    print(json.dumps(line), flush=True)


def run_recipe(plan):
    """The code of the guide: an event, a message that comes twice, a request that is made again and then another one."""
    asked = plan["recipe"]
    spec = importlib.util.spec_from_file_location("recipe", asked["file"])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    loop = asyncio.new_event_loop()

    def call(function, *arguments):
        result = function(*arguments)
        return loop.run_until_complete(result) if asyncio.iscoroutine(result) else result

    connection = [call(module.connect, asked["url"])] if hasattr(module, "connect") else []  # Django has its own
    call(module.pay, *connection, asked["order"])
    verdicts = [call(module.receive, *connection, asked["message"], asked["order"], 5) for _ in range(2)]
    answers = [call(module.post_payment, *connection, asked["key"], {"account": asked["order"], "amount": amount}) for amount in (3, 3, 4)]
    return {"receive": verdicts, "post": answers}


def main():
    kind = DRIVERS[sys.argv[1]]
    with open(sys.argv[2], encoding="utf-8") as file:
        plan = json.load(file)
    for mode, cases in plan["modes"].items():
        driver = kind(plan, mode)
        say({"version": driver.version})
        for case in cases:
            try:
                rows = driver.run(case)
                say({"id": case["id"], "rows": [[[shown(each) for each in row] for row in step] for step in rows]})
            except Exception as error:
                say({"id": case["id"], "sqlstate": driver.sqlstate(error), "error": f"{type(error).__name__}: {error}".split("\n")[0]})
        driver.close()
    if "recipe" in plan:
        say({"recipe": run_recipe(plan)})


if __name__ == "__main__":
    main()
