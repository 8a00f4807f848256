#!/usr/bin/python3
"""make soak [MINUTES=30] [RATE=2000]: the whole way, steadily, while an idle transaction holds back every VACUUM.

PostgreSQL → outbox → Kafka → inbox → PostgreSQL on one server with two databases; in each a transaction is open from
the beginning, so that nothing dead may be removed. Writes build/soak/soak.csv and soak.svg. Exit 0 only if throughput
and memory are flat, no event or key table has a dead row, and at the end everything has been applied.
"""
import csv
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from chaos import plot  # noqa: E402
from support.kafka import Kafka  # noqa: E402
from support.postgres import RELAY_ROLE, Cluster  # noqa: E402
from support.process import STAGED_BIN, TOP, Process, wait_until  # noqa: E402
from support.relay import Relay  # noqa: E402

OUTPUT = TOP / "build/soak"
TOPIC = "soak"
EVENTS = 5  # a transaction
STEP_SECONDS = 10
WARM_UP = 60  # seconds that no verdict looks at: caches fill, a young JVM compiles
SERVER = "shared_buffers = 256MB\nmax_wal_size = 2GB\n"
PUBLISH = f"""\\set k random(1, 1000)
SELECT count(once.publish_text('{TOPIC}', repeat('x', 200), key => 'k' || (:k + n))) FROM generate_series(1, {EVENTS}) n;
"""
# Appends: a counter that is updated would bloat under a held xmin, and that would be the application's own.
RECEIVER = """
CREATE SCHEMA app AUTHORIZATION relay;
SELECT once.grant_consumer('relay');
SET ROLE relay;
CREATE TABLE app.applied (messages int);
CREATE FUNCTION app.apply(messages once.message[]) RETURNS void LANGUAGE sql AS
    'INSERT INTO app.applied VALUES (cardinality(messages))';
CREATE FUNCTION app.apply(message once.message) RETURNS void LANGUAGE sql AS 'INSERT INTO app.applied VALUES (1)';
"""
# What must have no dead row, and what the relays keep one row of and update.
KEPT = {"event tables": ("sender", "^event_[0-9]+_[0-9]+$"), "key tables": ("receiver", "^key_[0-9]+_[0-9]+$")}
UPDATED = {"report": ("sender", "^relay_report$"), "offset": ("receiver", "^(consumer_offset|offset_fence)$")}
COLUMNS = ("second", "published", "shipped", "applied", "behind", "lag_s", "outbox_mb", "inbox_mb", "event_dead", "key_dead",
           "event_mb", "key_mb", "updated_dead", "updated_mb")


class Soak:
    def __init__(self, rate):
        self.rate = rate
        self.rows, self.counted, self.messages = [], 0, 0

    def start(self):
        self.kafka = Kafka(heap="768m").start()
        self.kafka.create_topic(TOPIC, 4)
        self.server = Cluster(SERVER, name="soak").create().start()
        self.databases = {name: self.server.create_database(name) for name in ("sender", "receiver")}
        for database in self.databases.values():
            database.execute("CREATE EXTENSION pgstattuple")
        self.databases["receiver"].execute(RECEIVER)
        self.held = [self._hold(database) for database in self.databases.values()]
        self.outbox = Relay(self.databases["sender"], self.kafka.brokers).start()
        self.inbox = Relay(self.databases["receiver"], self.kafka.brokers, command="inbox")
        configuration = self.inbox.folder / "relay.toml"
        configuration.write_text(f'[[inbox]]\ntopic = "{TOPIC}"\ngroup = "soak"\nhandler = "app.apply"\n')
        self.inbox.arguments = ["--config", str(configuration)]
        self.inbox.start()
        self.outbox.wait_state("running")
        script = self.server.folder / "publish.sql"
        script.write_text(PUBLISH)
        self.writer = Process([STAGED_BIN / "pgbench", "-n", "-M", "prepared", "-f", script, "-c", 4, "-j", 1, "-T", 10**6,
                               "-R", self.rate / EVENTS, "-h", self.server.folder, "-p", self.server.port, "-U", "postgres",
                               "sender"], log=self.server.folder / "pgbench.log")
        return self

    @staticmethod
    def _hold(database):
        """An idle transaction with an id and a snapshot: its xmin is everybody's horizon."""
        connection = database.connect(autocommit=False)
        connection.set_session(isolation_level="REPEATABLE READ")
        connection.cursor().execute("SELECT pg_current_xact_id()")
        return connection

    def published(self):
        return self.databases["sender"].value("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM once.event_0_seq")

    def applied(self):
        """Adds up what came since: the table is read once, not once for each look."""
        rows, messages = self.databases["receiver"].query(
            "SELECT count(*), coalesce(sum(messages), 0) FROM (SELECT messages FROM app.applied OFFSET %s) a", (self.counted,))[0]
        self.counted, self.messages = self.counted + rows, self.messages + int(messages)
        return self.messages

    def tables(self, where, pattern):
        """(dead rows, megabytes) as the statistics have them, with indexes."""
        dead, size = self.databases[where].query(
            "SELECT coalesce(sum(n_dead_tup), 0), coalesce(sum(pg_total_relation_size(relid)), 0) FROM pg_stat_all_tables "
            "WHERE schemaname = 'once' AND relname ~ %s", (pattern,))[0]
        return int(dead), float(size) / 1e6

    def exact_dead(self, where, pattern):
        """Every page looked at; statistics are estimates."""
        return int(self.databases[where].value(
            "SELECT coalesce(sum((pgstattuple(c.oid)).dead_tuple_count), 0) FROM pg_class c "
            "WHERE relnamespace = 'once'::regnamespace AND relkind = 'r' AND relname ~ %s", (pattern,)))

    def measure(self, second):
        published, applied = self.published(), self.applied()
        (event_dead, event_mb), (key_dead, key_mb) = (self.tables(*KEPT[name]) for name in KEPT)
        updated = [self.tables(*place) for place in UPDATED.values()]
        self.rows.append(dict(zip(COLUMNS, (
            second, published, int(self.outbox.metric("once_outbox_events_total") or 0), applied, published - applied,
            self.outbox.metric("once_outbox_lag_seconds") or 0.0, resident(self.outbox), resident(self.inbox), event_dead,
            key_dead, event_mb, key_mb, sum(dead for dead, _ in updated), sum(size for _, size in updated)))))
        return self.rows[-1]

    def run(self, seconds):
        began = time.monotonic()
        while (second := time.monotonic() - began) < seconds:
            row = self.measure(round(second, 1))
            if len(self.rows) % 6 == 1:
                print("  ".join(f"{name} {row[name]:.0f}" for name in COLUMNS), flush=True)
            time.sleep(max(0.0, began + len(self.rows) * STEP_SECONDS - time.monotonic()))
        self.writer.stop()
        wait_until("everything is applied", lambda: self.applied() >= self.published(), 120, 0.5)
        self.measure(round(time.monotonic() - began, 1))

    def verdict(self):
        """[(what, as it should be, what was measured)]"""
        rows = rates([row for row in self.rows[:-1] if row["second"] >= WARM_UP])
        third = len(rows) // 3
        if not third:
            return [("long enough", False, f"{len(self.rows)} measurements")]
        first, last = rows[:third], rows[-third:]
        found = []
        for name in ("published", "shipped", "applied"):
            before, after = (statistics.mean(row[name] for row in part) for part in (first, last))
            found.append((f"{name} flat", 0.95 <= after / before <= 1.05, f"{before:.0f} → {after:.0f} events/s"))
        for name in ("outbox_mb", "inbox_mb"):
            before, after = (statistics.median(row[name] for row in part) for part in (first, last))
            found.append((f"{name} flat", after <= before * 1.1, f"{before:.1f} → {after:.1f} MB"))
        for name, place in KEPT.items():
            dead, statistic = self.exact_dead(*place), max(self.tables(*place)[0], *(row["event_dead" if "event" in name
                                                                                       else "key_dead"] for row in self.rows))
            found.append((f"no dead row in {name}", dead == 0 and statistic == 0, f"pgstattuple {dead}, statistics {statistic}"))
        end = self.rows[-1]
        found.append(("everything applied once", end["published"] == end["applied"],
                      f"{end['published']} published, {end['applied']} applied"))
        return found

    def stop(self):
        for process in (getattr(self, "writer", None), self.inbox.process, self.outbox.process):
            if process:
                process.stop()
        self.server.stop("immediate")
        self.kafka.stop()


def resident(relay):
    """Megabytes of memory that the process has now."""
    for line in Path(f"/proc/{relay.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return 0.0


def rates(rows):
    """Counters become events a second since the row before."""
    made = []
    for before, row in zip(rows, rows[1:]):
        seconds = row["second"] - before["second"]
        made.append({**row, **{name: (row[name] - before[name]) / seconds for name in ("published", "shipped", "applied")}})
    return made


def write(soak):
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with open(OUTPUT / "soak.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows({name: round(value, 1) for name, value in row.items()} for row in soak.rows)
    shown = rates(soak.rows[:-1])
    minutes = [row["second"] / 60 for row in shown]
    column = lambda name: [row[name] for row in shown]
    (OUTPUT / "soak.svg").write_text(plot.draw("minutes", minutes, [
        ("events/s", {"published": column("published"), "shipped": column("shipped"), "applied": column("applied")}),
        ("published, not yet applied", {"events": column("behind")}),
        ("resident memory, MB", {"outbox": column("outbox_mb"), "inbox": column("inbox_mb")}),
        ("dead rows", {"event tables": column("event_dead"), "key tables": column("key_dead")}),
        ("size with indexes, MB", {"event tables": column("event_mb"), "key tables": column("key_mb")}),
        ("what is updated in place: dead rows", {"report, offsets": column("updated_dead")})]), encoding="utf-8")


def main():
    minutes, rate = float(os.environ.get("MINUTES") or 30), int(os.environ.get("RATE") or 2000)
    soak = Soak(rate)
    try:
        soak.start().run(minutes * 60)
        found = soak.verdict()
    finally:
        if soak.rows:
            write(soak)
        soak.stop()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=TOP)
    print(f"\nsoak: {minutes:g} minutes at {rate} events/s, an idle transaction in each database · commit {commit.stdout.strip()}")
    for what, good, measured in found:
        print(f"{'ok  ' if good else 'NOT '} {what:26} {measured}")
    print(f"files: {OUTPUT}/soak.csv, soak.svg", flush=True)
    sys.exit(0 if all(good for _, good, _ in found) else 1)


if __name__ == "__main__":
    main()
