"""README and guides are run as they stand: the tour pasted whole into a shell, every other block of SQL statement by statement.

What a tester's machine lacks stands on PATH as a wrapper that does the real thing: `sudo`, a server whose port is
PGPORT and whose installation `make install` may write to, `kafka-topics.sh` out of the broker's jars.
"""
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import psycopg2
import pytest
from support.kafka import JAVA, KAFKA_HOME
from support.postgres import Cluster
from support.process import TOP, Process, server_user, temporary_folder
from support.relay import run_relay

PAGES = [TOP / "README.md", *sorted((TOP / "sql/guide").glob("*.md")), TOP / "relay/OPERATING.md", TOP / "relay/SECURITY.md"]
TOUR = "Five minutes"


def blocks():
    """(section, language, text) of each fenced block, in order."""
    section, language, lines = "", None, []
    for line in (line for page in PAGES for line in page.read_text(encoding="utf-8").splitlines()):
        if line.startswith("```"):
            if language is not None:
                yield section, language, "\n".join(lines) + "\n"
            language, lines = (line[3:], []) if language is None else (None, [])
        elif language is not None:
            lines.append(line)
        elif heading := re.match(r"#+ (.*)", line):
            section = heading[1]


def wrapper(folder, name, text):
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


class Machine:
    """A machine as the tour wants it: a server on localhost with password authentication, sudo, Kafka's scripts."""

    def __init__(self):
        # Its own installation: the one of the other tests must not change under them.
        self.folder = temporary_folder("readme", server_user())
        self.folder.chmod(self.folder.stat().st_mode | stat.S_IXOTH)
        stage = self.folder / "stage"
        subprocess.run([TOP / "test/support/stage.sh", "pg_config", stage], check=True, stdin=subprocess.DEVNULL)
        self.cluster = Cluster(name="readme", programs=stage.resolve() / "bin").create()
        (self.cluster.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        self.cluster.start()
        self.path = self.folder / "path"
        self.path.mkdir()
        self._write_wrappers(stage.resolve() / "bin")

    def _write_wrappers(self, programs):
        real = Path(shutil.which("pg_config"))
        wrapper(self.path, "pg_config", f'case "$1" in --bindir | --pkglibdir | --sharedir) cd {programs} ;; '
                                        f'*) cd {real.parent} ;; esac\nexec ./pg_config "$@"')
        become = f"runuser -u {server_user()} --" if server_user() else ""
        wrapper(self.path, "sudo", f'[ "$1 $2" = "-u postgres" ] || exec "$@"\nshift 2\ncd /tmp\n'
                                   f'exec {become} env PGHOST={self.cluster.folder} PGUSER=postgres "$@"')
        java = " ".join(f"'{word}'" for word in JAVA)
        wrapper(self.path, "kafka-topics.sh", f"exec {java} -XX:TieredStopAtLevel=1 -cp '{KAFKA_HOME}/libs/*' "
                                              'org.apache.kafka.tools.TopicCommand "$@"')

    def paste(self, text):
        """Into the stdin of a shell, as a terminal gets it: a command that reads stdin swallows what follows."""
        script = self.folder / "paste.sh"
        script.write_text(text + "\necho pasted to the end\n")
        with open(script, "rb") as lines:
            shell = Process(["bash", "-e"], log=self.folder / "paste.log", stdin=lines, cwd=TOP, env={
                "PATH": f"{self.path}:{os.environ['PATH']}", "PGPORT": str(self.cluster.port),
                "MAKEFLAGS": "", "MAKELEVEL": ""})
            status = shell.wait(120)
        return status, shell.log()

    def connect(self, role):
        connection = psycopg2.connect(host="localhost", port=self.cluster.port, dbname="mydb", user=role, password=role)
        connection.autocommit = True
        return connection


@pytest.fixture(scope="module")
def tour(kafka):
    """(machine, exit status and output of the tour); the SQL of the other sections goes on in its database."""
    machine = Machine()
    port = kafka.brokers.rsplit(":", 1)[1]
    text = "".join(block for section, _, block in blocks() if section == TOUR)
    yield machine, *machine.paste(text.replace("localhost:9092", f"localhost:{port}"))
    machine.cluster.stop("immediate")


def test_tour_works_when_pasted_whole(kafka, tour):
    _, status, output = tour
    assert all(language == "sh" for section, language, _ in blocks() if section == TOUR), "a block that nobody runs"
    assert status == 0 and output.endswith("pasted to the end\n"), output
    assert not re.search(r"^(psql:.*|.*ERROR:|.*command not found)", output, re.M), output
    read = kafka.read("orders")
    assert sorted((m.key, m.value) for m in read if m.value) == [(b"1", b'{"id": 1}'), (b"2", b'{"id": 2}')]
    assert [m.key for m in read if m.value is None] == [b"1"], "one tombstone"
    assert [dict(m.headers)["trace"] for m in read if m.key == b"2"] == [b"0af76519"]
    shown = re.findall(r"^[12] .*once-id=([0-9a-f-]{36}),once-source=\S+,once-position=\d+$", output, re.M)
    assert set(shown) == {dict(m.headers)["once-id"].decode() for m in read}, output


# What the first column of each statement's answer has to be; `-`: the statement answers nothing.
UUID = r"[0-9a-f-]{36}"
ANSWERS = {
    "pg_once": ["-", "-", UUID, "-"],
    "Features": ["-", "new", "new", UUID, UUID, "acquired", "-"],
    "Receiving": ["-", "new", "-"],
    "Idempotent requests": ["-", "new", "", "-"],
    "State machines": [".*", "moved", "moved", "-"],
    "Guards": ["ok", "locked", "locked", "acquired", ""],
    "Headers of a transaction": ["-", "-", UUID, "-"],
    "Publishing once, publishing later": [UUID, UUID, "True"],
    "Where PostgreSQL evaluates an expression twice": ["-", UUID],
}
GIVEN = {"idempotency_key": "k-1", "request": '{"amount": 10}', "response": '{"paid": true}', "payload": "x", "id": "message 1"}
SQL = [(section, text) for section, language, text in blocks() if language == "sql"]


def run_sql(cursor, text, parameters):
    """First column of each statement's answer. What a statement answers are the parameters of the next ones."""
    for statement in filter(str.strip, re.sub(r"--.*", "", text).split(";")):
        cursor.execute(re.sub(r"(?<![:\w]):([a-z_]+)", r"%(\1)s", statement.replace("%", "%%")), parameters)
        if cursor.description is None:
            yield "-"
            continue
        row = cursor.fetchone()
        parameters.update({column.name: value for column, value in zip(cursor.description, row)})
        parameters["id"] = row[0]
        yield str(row[0])


@pytest.fixture(scope="module")
def owner(tour):
    """Who owns the application's tables: publishes, receives, and may declare machines."""
    machine, *_ = tour
    with machine.cluster.session("mydb") as cursor:
        cursor.execute("CREATE ROLE owner LOGIN PASSWORD 'owner'")
        cursor.execute("SELECT once.grant_publisher('owner'), once.grant_consumer('owner'), once.grant_admin('owner')")
        cursor.execute("CREATE TABLE orders (id bigint PRIMARY KEY, state text, status text, version bigint)")
        cursor.execute("INSERT INTO orders VALUES (42, 'new', 'new', 7)")
        cursor.execute("ALTER TABLE orders OWNER TO owner")
        cursor.execute("CREATE TABLE account AS SELECT 1 AS id, 0 AS balance")
        cursor.execute("ALTER TABLE account OWNER TO owner")
    connection = machine.connect("owner")
    yield connection.cursor()
    connection.close()


def test_sql_of_every_section_runs_as_it_stands(owner):
    assert sorted({section for section, _ in SQL}) == sorted(ANSWERS), "a section that nobody looks at"
    for section in ANSWERS:
        parameters = dict(GIVEN)
        answers = [answer for its, text in SQL if its == section for answer in run_sql(owner, text, parameters)]
        assert len(answers) == len(ANSWERS[section]) and all(map(re.fullmatch, ANSWERS[section], answers)), \
            f"{section}: {answers}"
    with pytest.raises(psycopg2.Error) as refused:
        owner.execute("UPDATE orders SET status = 'paid' WHERE id = 42")
    assert refused.value.pgcode == "ON030", "the trigger of the README guards"


def test_configuration_is_one_that_the_relay_takes():
    texts = [text for _, language, text in blocks() if language == "toml"]
    assert len(texts) == 2, "a configuration that nobody looks at"
    for text, named in zip(texts, ("billing.apply_orders", "SCRAM-SHA-512")):
        file = temporary_folder("readme") / "relay.toml"
        file.write_text(text)
        status, output = run_relay("print-config", "--config", file)
        assert status == 0 and named in output, output
