"""once.transition beside a plain guarded UPDATE, the guard trigger's cost per row, content ids per second.

transition and UPDATE are measured in turn, many short rounds each; the ratio is of the median times, the UPDATE's being 1.
The trigger: the same UPDATE of all rows with it and without it. content_id: one core, an order of 300 bytes.
"""
import statistics

from bench.servers import cluster, pgbench, scale

ENTITIES = 100_000
TABLES = f"""
SELECT once.machine_set('switch', 'off', '[{{"from": "off", "event": "flip", "to": "on"}},
    {{"from": "on", "event": "flip", "to": "off"}}, {{"from": "on", "event": "break", "to": "broken"}}]');
SELECT count(once.transition('switch', n::text, 'flip')) FROM generate_series(1, {ENTITIES}) n;
CREATE TABLE plain (machine text, entity text, state text NOT NULL, version bigint NOT NULL, changed_at timestamptz NOT NULL,
    PRIMARY KEY (machine, entity)) WITH (fillfactor = 80);
INSERT INTO plain SELECT 'switch', n::text, 'on', 1, now() FROM generate_series(1, {ENTITIES}) n;
CREATE TABLE plain_event (entity text, event_id text, PRIMARY KEY (entity, event_id));
CREATE TABLE bare (id int PRIMARY KEY, state text, note int) WITH (fillfactor = 50);
INSERT INTO bare SELECT n, 'off', 0 FROM generate_series(1, {ENTITIES}) n;
CREATE TABLE guarded (LIKE bare INCLUDING ALL) WITH (fillfactor = 50);
INSERT INTO guarded SELECT * FROM bare;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON guarded FOR EACH ROW EXECUTE FUNCTION once.guard('switch', 'state');
VACUUM ANALYZE;
"""
KEY = f"\\set k random(1, {ENTITIES})\n"
ID = KEY + "\\set i random(1, 1000000000000)\n"
UPDATE = ("UPDATE plain SET state = CASE state WHEN 'on' THEN 'off' ELSE 'on' END, version = version + 1, "
          "changed_at = clock_timestamp() WHERE machine = 'switch' AND entity = :k::text AND state IN ('on', 'off') "
          "RETURNING state, version;\n")
TRANSITION = "SELECT * FROM once.transition('switch', :k::text, 'flip');\n"
INSERT_ID = "INSERT INTO plain_event VALUES (:k::text, :i::text) ON CONFLICT DO NOTHING RETURNING 1;\n"
TRANSITION_ID = "SELECT * FROM once.transition('switch', :k::text, 'flip', :i::text);\n"
REFUSED = "SELECT * FROM once.transition('switch', :k::text, 'flip', NULL, -1);\n"
CASES = [  # what, ours, by hand, clients, aim
    ("transition beside a guarded UPDATE, 1 client", KEY + TRANSITION, KEY + UPDATE, 1, "≤ 1.3"),
    ("transition beside a guarded UPDATE, 16 clients", KEY + TRANSITION, KEY + UPDATE, 16, "≤ 1.3"),
    ("with an event id, beside BEGIN, INSERT, UPDATE, END, 1 client", ID + TRANSITION_ID,
     ID + "BEGIN;\n" + INSERT_ID + UPDATE + "END;\n", 1, None),
    ("refused, beside a guarded UPDATE, 1 client", KEY + REFUSED, KEY + UPDATE, 1, None),
]
DOCUMENT = """jsonb_build_object('order', n, 'customer', 'customer-' || n, 'paid', n % 2 = 0, 'total', n * 1.25,
    'lines', jsonb_build_array(jsonb_build_object('sku', 'abc-' || n, 'count', 2, 'price', 9.95),
                               jsonb_build_object('sku', 'def-' || n, 'count', 1, 'price', 19.5)), 'note', repeat('x', 120))"""


def measure(database, ours, plain, clients, rounds, seconds):
    rates = {ours: [], plain: []}
    for turn in range(rounds):
        for script in (ours, plain) if turn % 2 else (plain, ours):
            rates[script].append(pgbench(database, script, clients=clients, seconds=seconds))
    return statistics.median(rates[ours]), statistics.median(rates[plain])


def timed(database, statement, rounds):
    """Median seconds that the server needs, measured in the server."""
    return statistics.median(
        database.query("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + statement)[0][0][0]["Execution Time"] / 1000
        for _ in range(rounds))


def bench(report):
    rounds, seconds = scale("BENCH_ROUNDS", 7), scale("BENCH_SECONDS", 2)
    with cluster() as server:
        database = server.create_database("guard")
        for statement in TABLES.split(";\n"):
            if statement.strip():
                database.execute(statement)
        for what, ours, plain, clients, aim in CASES:
            measured, beside = measure(database, ours, plain, clients, rounds, seconds)
            report.add("guard", what, measured, "/s", beside / measured, aim, plain=beside, clients=clients)
        for what, change in (("state changes", "state = CASE state WHEN 'on' THEN 'off' ELSE 'on' END"),
                             ("state stays", "note = note + 1")):
            cost = {}
            for table in ("bare", "guarded"):
                cost[table] = timed(database, f"UPDATE {table} SET {change}", rounds) / ENTITIES * 1e6
            report.add("guard", f"guard trigger, {what}", cost["guarded"] - cost["bare"], "µs/row",
                       cost["guarded"] / cost["bare"], plain=cost["bare"])
        database.execute(f"CREATE TABLE doc AS SELECT {DOCUMENT} AS j FROM generate_series(1, {ENTITIES}) n")
        for what, fields in (("content_id of the whole", "NULL"), ("content_id of two fields", "'{order,total}'")):
            seconds_all = timed(database, f"SELECT count(once.content_id('s', j, {fields})) FROM doc", rounds)
            report.add("guard", what, ENTITIES / seconds_all, "ids/s")
