"""Request keys: claim, effect and complete in one commit beside the same by hand; a replay beside a SELECT by primary key.

By hand: insert the key, do the effect, update the key, the request's hash made by the application. Rounds take turns, the
median ratio counts. `async` is synchronous_commit = off: without the disk, what is left is the work itself.
"""
import os
import statistics

from bench.servers import cluster, pgbench

SECONDS = int(os.environ.get("BENCH_CLAIM_SECONDS", "3"))
ROUNDS = int(os.environ.get("BENCH_CLAIM_ROUNDS", "5"))
REQUEST = """'{"account": 7, "amount": 5, "currency": "EUR", "memo": "rent for november"}'"""
ANSWER = """'{"id": 12345, "status": "booked"}'"""
SCOPES = 100000  # every other one declared
SETUP = f"""
CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO account SELECT g, 0 FROM generate_series(1, 10000) g;
CREATE TABLE by_hand (key text PRIMARY KEY, request_hash bytea NOT NULL, state text NOT NULL, status int, response jsonb,
                      created_at timestamptz NOT NULL DEFAULT now()) WITH (fillfactor = 85);
INSERT INTO by_hand SELECT 'r' || g, sha256('x'), 'done', 201, {ANSWER} FROM generate_series(1, 10000) g;
SELECT count(once.complete('bench', 'r' || g, (c).token, {ANSWER}, 201))
    FROM (SELECT g, once.claim('bench', 'r' || g, {REQUEST}) AS c FROM generate_series(1, 10000) g OFFSET 0) x;
SELECT count(once.scope_set('bench' || g, max_attempts => 3)) FROM generate_series(1, {SCOPES}, 2) g;
"""
EFFECT = "UPDATE account SET balance = balance + 5 WHERE id = :a;\n"
HEAD = "\\set a random(1, 10000)\n\\set k random(1, 1000000000000000)\n"
SCRIPTS = {
    "effect": HEAD + "BEGIN;\n" + EFFECT + "COMMIT;\n",
    "by_hand": HEAD + f"""BEGIN;
INSERT INTO by_hand (key, request_hash, state) VALUES ('k' || :k, '\\x6d2f7a1b0c3e5d4f6d2f7a1b0c3e5d4f6d2f7a1b0c3e5d4f6d2f7a1b0c3e5d4f', 'started') ON CONFLICT (key) DO NOTHING;
{EFFECT}UPDATE by_hand SET state = 'done', status = 201, response = {ANSWER} WHERE key = 'k' || :k;
COMMIT;
""",
    "atomic": HEAD + f"""BEGIN;
SELECT verdict, token FROM once.claim('bench', 'k' || :k, {REQUEST}) \\gset
{EFFECT}SELECT once.complete('bench', 'k' || :k, :token, {ANSWER}, 201);
COMMIT;
""",
    "scopes": HEAD + f"""\\set s random(1, {SCOPES})
BEGIN;
SELECT verdict, token FROM once.claim('bench' || :s, 'k' || :k, {REQUEST}) \\gset
{EFFECT}SELECT once.complete('bench' || :s, 'k' || :k, :token, {ANSWER}, 201);
COMMIT;
""",
    "leased": HEAD + f"""SELECT verdict, token FROM once.claim('bench', 'k' || :k, {REQUEST}) \\gset
BEGIN;
{EFFECT}SELECT once.complete('bench', 'k' || :k, :token, {ANSWER}, 201);
COMMIT;
""",
    "select": "\\set k random(1, 10000)\nSELECT state, status, response FROM by_hand WHERE key = 'r' || :k;\n",
    "replay": f"\\set k random(1, 10000)\nSELECT verdict, status, response FROM once.claim('bench', 'r' || :k, {REQUEST});\n",
}


def in_turns(database, names, clients):
    """Median tps of each, and of the ratios to the first within a round: what disturbs a round disturbs all of it."""
    figures = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name in names:
            figures[name].append(pgbench(database, SCRIPTS[name], clients=clients, seconds=SECONDS))
    first = figures[names[0]]
    return {name: (statistics.median(values), statistics.median(b / a for a, b in zip(first, values)))
            for name, values in figures.items()}


def bench(report):
    with cluster() as server:
        database = server.create_database("claim")
        database.execute(SETUP)
        database.execute("VACUUM (ANALYZE) account, by_hand, once.claim_week_0")
        for mode in ("on", "off"):
            database.execute(f"ALTER DATABASE claim SET synchronous_commit = {mode}")
            label = "" if mode == "on" else ", async"
            for clients in (1, 16):
                result = in_turns(database, ["by_hand", "atomic", "scopes", "leased", "effect"], clients)
                report.add("claim", f"by hand, {clients} clients{label}", result["by_hand"][0], "tx/s")
                report.add("claim", f"atomic, {clients} clients{label}", *figure(result, "atomic"), aim=">= 0.92 of by hand")
                report.add("claim", f"atomic over {SCOPES:,} scopes, {clients} clients{label}", *figure(result, "scopes"), aim=">= 0.92 of by hand")
                report.add("claim", f"leased: two commits, {clients} clients{label}", *figure(result, "leased"))
                report.add("claim", f"the bare effect, {clients} clients{label}", *figure(result, "effect"))
        for clients in (1, 16):
            result = in_turns(database, ["select", "replay"], clients)
            report.add("claim", f"SELECT by primary key, {clients} clients", result["select"][0], "tx/s")
            report.add("claim", f"replay, {clients} clients", *figure(result, "replay"), aim=">= 0.60 of the SELECT")
        database.drop()


def figure(result, name):
    tps, ratio = result[name]
    return tps, "tx/s", ratio
