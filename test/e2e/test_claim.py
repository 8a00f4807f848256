"""Claims where sessions race, wait, die, fail over and are dumped: what one session cannot show."""
import os
import random
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from support.postgres import Cluster, server_user
from support.process import STAGED_BIN, most_memory, wait_until

VERDICTS = {"new", "reclaimed", "in_progress", "replay", "mismatch", "failed", "exhausted"}


@pytest.fixture
def database(cluster, world_name):
    made = cluster.create_database(world_name)
    yield made
    made.drop()


def run(connection, statement, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchone()


def claim(connection, key, wait=None):
    """(verdict, token, seconds)"""
    started = time.monotonic()
    verdict, token = run(connection, "SELECT verdict, token FROM once.claim('s', %s, wait => %s)", key, wait)
    return verdict, token, time.monotonic() - started


def in_thread(function, *arguments):
    return ThreadPoolExecutor(1).submit(function, *arguments)


def test_A4_fifty_concurrent_claims_one_is_new(database):
    sessions = [database.connect() for _ in range(50)]
    start = threading.Barrier(50)

    def one(session):
        start.wait()
        return claim(session, "k")[0]
    with ThreadPoolExecutor(50) as pool:
        verdicts = sorted(pool.map(one, sessions))
    assert verdicts == ["in_progress"] * 49 + ["new"]


def test_A4_fifty_atomic_transactions_one_effect(database):
    database.execute("CREATE TABLE effect (id int)")
    start = threading.Barrier(50)

    def one(_):
        session = database.connect(autocommit=False)
        start.wait()
        verdict, token, _ = claim(session, "k")
        if verdict == "new":
            run(session, "INSERT INTO effect VALUES (1) RETURNING id")
            run(session, "SELECT once.complete('s', 'k', %s, '1')", token)
        session.commit()
        return verdict
    with ThreadPoolExecutor(50) as pool:
        assert sorted(pool.map(one, range(50))) == ["new"] + ["replay"] * 49
    assert database.value("SELECT count(*) FROM effect") == 1


REGISTERED = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'"


@pytest.mark.parametrize("end, verdict, limit_s", [
    ("SELECT once.complete('s', 'k', %s, '1')", "replay", 0.5),  # A5; 0.2 on an idle machine
    # A7: the row changes behind the library's back, so nobody is woken: as if the notification were lost
    ("UPDATE once.claim_week_0 SET state = 'd', settled_at = clock_timestamp(), response = '1' WHERE token = %s", "replay", 2),
    ("SELECT once.release('s', 'k', %s)", "new", 2)], ids=["completed", "unseen", "released"])  # A8
def test_A5_A7_A8_a_waiting_claim_ends_with_what_it_waits_for(database, end, verdict, limit_s):
    owner, waiter = database.connect(), database.connect()
    _, token, _ = claim(owner, "k")
    waiting = in_thread(claim, waiter, "k", "10 s")
    database.wait_for("the waiter is registered", f"SELECT ({REGISTERED}) = 1")
    ended = time.monotonic()
    database.execute(end, (token,))
    answer, mine, _ = waiting.result(15)
    assert answer == verdict and time.monotonic() - ended < limit_s
    assert (mine is not None) == (verdict == "new")


def test_A5_a_completion_wakes_only_who_registered(database):
    """A waiter stands in the lock table while it waits; nobody else does, and no completion ever sends a NOTIFY."""
    notifications = "SELECT blks_zeroed + blks_hit + blks_read + blks_written FROM pg_stat_slru WHERE lower(name) = 'notify'"
    owner, waiter = database.connect(), database.connect()
    before = database.value(notifications)
    _, token, _ = claim(owner, "k")
    assert database.value(REGISTERED) == 0
    waiting = in_thread(claim, waiter, "k", "10 s")
    database.wait_for("the waiter is registered", f"SELECT ({REGISTERED}) = 1")
    run(owner, "SELECT once.complete('s', 'k', %s, '1')", token)
    assert waiting.result(15)[0] == "replay"
    assert database.value(REGISTERED) == 0
    assert database.value(notifications) == before


def test_A6_a_wait_ends_in_time(database):
    owner, waiter = database.connect(), database.connect()
    claim(owner, "k")
    verdict, _, seconds = claim(waiter, "k", "0.3 s")
    assert verdict == "in_progress" and 0.29 <= seconds < 1


def test_A6_a_waiter_keeps_one_look_in_memory(database):
    """The row that it looks at 20 times a second carries a checkpoint of 4 MB."""
    owner, waiter = database.connect(), database.connect()
    _, token, _ = claim(owner, "k")
    run(owner, "SELECT once.checkpoint('s', 'k', %s, (SELECT jsonb_agg(md5(n::text)) FROM generate_series(1, 120000) n))", token)
    claim(waiter, "k", "0.1 s")
    before = most_memory(waiter.info.backend_pid)
    assert claim(waiter, "k", "3 s")[0] == "in_progress"
    assert most_memory(waiter.info.backend_pid) - before < 50, "megabytes"


def test_B2_a_waiter_reclaims_when_the_lease_lapses(database):
    owner, waiter = database.connect(), database.connect()
    run(owner, "SELECT verdict FROM once.claim('s', 'k', lease => '0.3 s')")
    verdict, _, seconds = claim(waiter, "k", "10 s")
    assert verdict == "reclaimed" and seconds < 2


def test_A9_claim_races_release_and_the_sweep(database):
    """4,800 claims from 12 sessions over few keys; who is told `new` must be the only owner until it releases."""
    database.execute("SELECT once.scope_set('s', keep => '1 s')")
    owners, lock, wrong, verdicts = {}, threading.Lock(), [], []
    stop = threading.Event()

    def worker(number):
        session = database.connect()
        for i in range(400):
            key = f"k{(i + number) % 3}"
            verdict, token, _ = claim(session, key)
            with lock:
                verdicts.append(verdict)
                if verdict in ("new", "reclaimed"):
                    if key in owners:
                        wrong.append((key, verdict))
                    owners[key] = number
            if token:
                with lock:
                    owners.pop(key, None)
                settled = run(session, "SELECT once.try_release('s', %s, %s)", key, token)[0]
                if settled != "ok":
                    wrong.append((key, settled))

    def sweeper():
        session = database.connect()
        while not stop.is_set():
            run(session, "SELECT count(once.ring_turn('claim_week')) FROM once.sweep()")
    sweeping = in_thread(sweeper)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(worker, range(12)))
    stop.set()
    sweeping.result(10)
    assert len(verdicts) == 4800 and set(verdicts) <= VERDICTS and wrong == []


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
def test_A4_D4_a_key_is_new_once_whatever_class_its_scope_has(database, level):
    """A schedule is a key of a scope of its own: sessions claim it at once, commit or roll back, while the scope changes its class and
    rings are handed over as fast as they can. Who knows the class before and who knows the one after must find each other."""
    schedules, sessions = int(os.environ.get("CLAIM_SCHEDULES", "1000")), 6
    database.execute("CREATE TABLE taken (scope text, who int)")
    present, stop = [0], threading.Event()

    def definer():
        chosen = random.Random(level)
        session = database.connect()
        while not stop.is_set():
            keep = chosen.choice(["1 h", "20 days", "50 days", "200 days", "9 years"])
            run(session, "SELECT count(once.scope_set(%s, keep => %s))", f"s{present[0]}", keep)

    def sweeper():
        chosen = random.Random(level)
        session = database.connect()
        while not stop.is_set():
            run(session, "SELECT once.ring_turn(%s)", "claim_" + chosen.choice(["day", "week", "month", "quarter", "year"]))
            run(session, "SELECT count(*) FROM once.sweep()")

    def holder():
        """Who waits for a table has its key's lock, and others wait for that."""
        chosen = random.Random(f"{level} holder")
        session = database.connect()
        run(session, "SELECT set_config('lock_timeout', '20ms', false)")
        while not stop.is_set():
            try:
                run(session, f"BEGIN; LOCK TABLE once.claim_week_{chosen.randrange(4)} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.002)")
            except psycopg2.errors.LockNotAvailable:
                pass
            run(session, "ROLLBACK; SELECT 1")

    barrier = threading.Barrier(sessions, lambda: present.__setitem__(0, present[0] + 1))

    def worker(number):
        chosen = random.Random(f"{level} {number}")
        session = database.connect(autocommit=False)
        session.set_session(isolation_level=level)
        for schedule in range(1, schedules + 1):
            barrier.wait()
            while run(session, "SELECT verdict FROM once.claim(%s, 'k', lease => '1 h')", f"s{schedule}")[0] == "new":
                run(session, "INSERT INTO taken VALUES (%s, %s) RETURNING 1", f"s{schedule}", number)
                if chosen.random() < 0.7:
                    break
                session.rollback()
            session.commit()

    helpers = [in_thread(definer), in_thread(sweeper), in_thread(holder)]
    with ThreadPoolExecutor(sessions) as pool:
        list(pool.map(worker, range(sessions)))
    stop.set()
    for helper in helpers:
        helper.result(30)
    assert database.query("SELECT scope, array_agg(who) FROM taken GROUP BY scope HAVING count(*) <> 1") == []
    assert database.value("SELECT count(DISTINCT scope) FROM taken") == schedules


STATEMENTS = ["SELECT verdict FROM once.claim('s', 'k')", "INSERT INTO effect VALUES (1) RETURNING id",
              "SELECT once.complete('s', 'k', token, '1') FROM once.claim_week_0 WHERE key = 'k'"]


@pytest.mark.parametrize("done", range(len(STATEMENTS) + 1))
def test_A17_backend_terminated_at_each_statement_boundary(database, done):
    database.execute("CREATE TABLE effect (id int)")
    session = database.connect(autocommit=False)
    for statement in STATEMENTS[:done]:
        run(session, statement)
    pid = session.info.backend_pid
    if done:
        database.execute(f"SELECT pg_terminate_backend({pid}, 5000)")
        with pytest.raises(psycopg2.Error):
            run(session, "SELECT 1")
    assert database.value("SELECT state FROM once.describe('s', 'k')") == "missing"
    assert database.value("SELECT count(*) FROM effect") == 0
    assert claim(database.connect(), "k")[0] == "new"


def test_A17_every_process_killed(world_name):
    with Cluster(name=world_name).create() as server:
        server.start()
        database = server.create_database("kill")
        database.execute("CREATE TABLE effect (id int)")
        session = database.connect(autocommit=False)
        for statement in STATEMENTS:
            run(session, statement)
        leased = database.connect()
        _, token, _ = claim(leased, "leased")
        server.kill()
        server.start()
        again = database.connect()
        assert database.value("SELECT count(*) FROM effect") == 0
        assert claim(again, "k")[0] == "new"
        assert claim(again, "leased")[0] == "in_progress"
        assert run(again, "SELECT once.try_complete('s', 'leased', %s, '1')", token)[0] == "ok"


def test_H17_describe_on_a_standby_keeps_up(world_name):
    with Cluster(name=world_name).create() as primary, Cluster(name=world_name + "_s") as standby:
        database = primary.start().create_database("h17")
        owner = database.connect()
        _, token, _ = claim(owner, "k")
        standby.copy_of(primary).start()
        run(owner, "SELECT once.complete('s', 'k', %s, '\"there\"')", token)
        reader = standby.connect("h17")
        wait_until("the standby has the answer",
                   lambda: run(reader, "SELECT state FROM once.describe('s', 'k')")[0] == "completed", 20, 0.05)
        assert run(reader, "SELECT response FROM once.describe('s', 'k')")[0] == "there"
        database.execute("SELECT once.scope_set('s', keep => '1 h')")  # the standby's cache hears of it
        wait_until("its cache has heard",
                   lambda: run(reader, "SELECT keep_left <= interval '1 h' FROM once.describe('s', 'k')")[0], 20, 0.05)


def test_H20_dump_and_restore_keep_settings_and_keys(cluster, database):
    session = database.connect()
    database.execute("CREATE ROLE dump_payer")
    try:
        for scope in ("declared", "common"):
            if scope == "declared":
                database.execute("SELECT once.scope_set('declared', keep => '3 h', max_attempts => 4)")
                database.execute("SELECT once.scope_grant('declared', 'dump_payer')")
            _, token = run(session, "SELECT verdict, token FROM once.claim(%s, 'k', '1')", scope)
            run(session, "SELECT once.complete(%s, 'k', %s, '\"kept\"')", scope, token)
        user = ["runuser", "-u", server_user(), "--"] if server_user() else []
        dump = subprocess.run(user + [str(STAGED_BIN / "pg_dump"), cluster.dsn(database.name)], check=True, cwd="/tmp", capture_output=True).stdout
        cluster.execute(f'CREATE DATABASE "{database.name}_copy"')
        subprocess.run(user + [str(STAGED_BIN / "psql"), "-Xq", "-v", "ON_ERROR_STOP=1", cluster.dsn(database.name + "_copy")], input=dump, check=True,
                       cwd="/tmp", capture_output=True)
        copy = cluster.connect(database.name + "_copy")
        for scope in ("declared", "common"):
            assert run(copy, "SELECT verdict, response FROM once.claim(%s, 'k', '1')", scope) == ("replay", "kept")
            assert run(copy, "SELECT verdict FROM once.claim(%s, 'k', '2')", scope) == ("mismatch",)
        assert run(copy, "SELECT keep::text, max_attempts, roles FROM once.scope WHERE name = 'declared'") == ("03:00:00", 4, ["dump_payer"])
        run(copy, "SELECT once.scope_set('another')")
        assert run(copy, "SELECT verdict FROM once.claim('another', 'k')") == ("new",)
        copy.close()
        cluster.execute(f'DROP DATABASE "{database.name}_copy"')
    finally:
        database.execute("DROP OWNED BY dump_payer; DROP ROLE dump_payer")
