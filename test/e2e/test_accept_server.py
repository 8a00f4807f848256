"""Receiving as far as it needs a server of its own or its processes: expiry, dumps, members that hang."""
import subprocess
import threading
import time

import psycopg2
import psycopg2.errors
import pytest

from support.postgres import reindexing
from support.process import STAGED_BIN, wait_until


@pytest.fixture
def database(cluster, world_name):
    cluster.create_database(world_name)
    yield world_name
    cluster.execute(f'DROP DATABASE "{world_name}" WITH (FORCE)')


def settle(sql, consumer, rounds=4):
    for _ in range(rounds):
        sql.execute("SELECT once.sweep(%s)", (consumer,))


def verdict(sql, consumer, number):
    sql.execute("SELECT once.accept(%s, %s::bigint)", (consumer, number))
    return sql.fetchone()[0]


def test_D3_expiry_of_a_million_keys_of_two_writes_next_to_no_wal(cluster, database):
    with cluster.session(database) as sql, cluster.session(database, autocommit=False) as sweeper:
        sql.execute("SET lock_timeout = '1 s'")
        sql.execute("SELECT once.consumer_set('c', 'bigint', keep => '1 hour')")
        fill = "INSERT INTO once.key_1_{} SELECT i FROM generate_series({}, {}) i"  # as a million accepts leave it
        sql.execute("ALTER TABLE once.key_1_0 SET (autovacuum_enabled = off)")
        sql.execute("ALTER TABLE once.key_1_1 SET (autovacuum_enabled = off)")
        sql.execute(fill.format(0, 1, 1_000_000))
        sql.execute("SELECT once.generation_turn('c')")
        settle(sql, "c")
        sql.execute(fill.format(1, 1_000_001, 2_000_000))
        sql.execute("UPDATE once.generation SET closed_at = closed_at - interval '2 hours' WHERE slot = 0")
        sql.execute("UPDATE once.generation SET opened_at = now() WHERE state = 'open'")
        sql.execute("SELECT sum(pg_total_relation_size('once.key_1_' || i)) FROM generate_series(0, 3) i")
        before = sql.fetchone()[0]
        sql.execute("CHECKPOINT")
        sql.execute("SELECT pg_current_wal_insert_lsn()")
        start = sql.fetchone()[0]
        longest = 0
        steps = []
        for turn in range(3):
            began = time.monotonic()
            sweeper.execute("SELECT steps FROM once.sweep()")
            longest = max(longest, time.monotonic() - began)
            steps += [step for (done,) in sweeper.fetchall() for step in done]
            # What it has locked is in nobody's way, however long it takes to commit.
            assert verdict(sql, "c", 2_000_000) == "duplicate"
            assert verdict(sql, "c", -turn) == "new"
            sweeper.connection.commit()
        assert steps == ["retired", "truncated"]
        sql.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", (start,))
        wal = sql.fetchone()[0]
        sql.execute("SELECT sum(pg_total_relation_size('once.key_1_' || i)) FROM generate_series(0, 3) i")
        after = sql.fetchone()[0]
        assert wal < 1_000_000, f"{wal} bytes of WAL"
        assert after * 10 < before * 6, f"{before} bytes, afterwards {after}"
        assert longest < 5, f"a sweep took {longest:.1f} s"
        assert verdict(sql, "c", 2_000_000) == "duplicate"
        assert verdict(sql, "c", 1) == "new"


def test_D4_a_dump_in_another_session_only_delays_the_hand_over(cluster, database):
    """A snapshot that is held keeps the states where they are; accept goes on, whoever acts under it is right."""
    with cluster.session(database) as sql, cluster.session(database, autocommit=False) as dump:
        sql.execute("SELECT once.consumer_set('c', 'bigint')")
        assert verdict(sql, "c", 1) == "new"
        dump.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        dump.execute("SELECT count(*) FROM once.generation")
        sql.execute("SELECT once.generation_turn('c')")
        settle(sql, "c")
        assert [verdict(sql, "c", n) for n in (1, 2, 2)] == ["duplicate", "new", "duplicate"]
        assert verdict(dump, "c", 3) == "new"
        dump.connection.commit()
        settle(sql, "c")
        sql.execute("SELECT state FROM once.generation WHERE slot = 0")
        assert sql.fetchone()[0] == "read_only"
        assert [verdict(sql, "c", n) for n in (1, 2, 3)] == ["duplicate"] * 3


def test_D8_a_snapshot_from_before_a_truncation_is_not_fooled(cluster, database):
    """TRUNCATE obeys no snapshot: were it not to wait, the old transaction would find its generation empty."""
    with cluster.session(database) as sql, cluster.session(database, autocommit=False) as old:
        sql.execute("SELECT once.consumer_set('c', 'bigint', keep => '1 hour')")
        assert verdict(sql, "c", 1) == "new"
        sql.execute("SELECT once.generation_turn('c')")
        settle(sql, "c")
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM once.generation")
        sql.execute("UPDATE once.generation SET closed_at = closed_at - interval '2 hours' WHERE slot = 0")
        sql.execute("UPDATE once.consumer SET keep = keep")
        settle(sql, "c")
        sql.execute("SELECT state FROM once.generation WHERE slot = 0")
        assert sql.fetchone()[0] == "retired"
        assert verdict(old, "c", 1) == "duplicate"
        old.connection.rollback()
        settle(sql, "c")
        sql.execute("SELECT state FROM once.generation WHERE slot = 0")
        assert sql.fetchone()[0] == "free"


def test_H20_a_dump_carries_settings_and_keys_but_no_fence(cluster, database):
    target = f"{database}_restored"
    with cluster.session(database) as sql:
        sql.execute("SELECT once.consumer_set('c', 'bigint', keep => '3 days'); SELECT once.accept('c', 1::bigint)")
        sql.execute("SELECT once.generation_turn('c')")
        settle(sql, "c")
        sql.execute("SELECT once.accept('c', 2::bigint); SELECT once.accept('t', 'x'::text)")
        sql.execute("SELECT once.generation_turn('c')")  # dumped in the middle of a handover
        sql.execute("SELECT once.accept('c', 3::bigint)")
        sql.execute("SELECT once.accept_position('c', 's', 7), once.accept_window('c', 's', 7)")
        sql.execute("SELECT once.inbox_put('t', 'i', 'x')")
        sql.execute("SELECT once.offset_claim('g', 't', 0); SELECT once.accept_offset('g', 't', 0, 0, 9)")
    connection = ["-h", str(cluster.folder), "-p", str(cluster.port), "-U", "postgres"]
    dump = subprocess.run([STAGED_BIN / "pg_dump", *connection, database], check=True, stdout=subprocess.PIPE).stdout
    cluster.create_database(target, extension=False)
    done = subprocess.run([STAGED_BIN / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", *connection, "-d", target], input=dump,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr.decode()
    with cluster.session(target) as sql:
        assert [verdict(sql, "c", n) for n in (1, 2, 3, 4)] == ["duplicate"] * 3 + ["new"]
        sql.execute("SELECT once.accept('t', 'x'::text), once.accept('t', 'i'::text), keep::text FROM once.consumer WHERE name = 'c'")
        assert sql.fetchone() == ("duplicate", "duplicate", "3 days")
        sql.execute("SELECT once.accept_position('c', 's', 7), once.accept_window('c', 's', 7), (SELECT id FROM once.inbox_take('t', 1))")
        assert sql.fetchone() == ("duplicate", "duplicate", "i")
        sql.execute("SELECT count(*) FROM once.offset_fence")
        assert sql.fetchone()[0] == 0
        sql.execute("SELECT next FROM once.offset_claim('g', 't', 0)")
        assert sql.fetchone()[0] == 10
        settle(sql, "c", 5)
        sql.execute("SELECT count(*) FROM once.generation WHERE state = 'closing'")
        assert sql.fetchone()[0] == 0, "the handover goes on with the new server's xids"
        assert [verdict(sql, "c", n) for n in (1, 2, 3, 4)] == ["duplicate"] * 4
        sql.execute("SELECT once.consumer_set('fresh', 'uuid')")
    cluster.execute(f'DROP DATABASE "{target}" WITH (FORCE)')


def test_F11_a_member_that_hangs_in_its_transaction_is_ended_after_15_seconds(cluster, database):
    with cluster.session(database) as sql, cluster.session(database, autocommit=False) as member:
        sql.execute("SELECT fence FROM once.offset_claim('g', 't', 0)")
        fence = sql.fetchone()[0]
        member.execute("SELECT once.accept_offset('g', 't', 0, 0, 9, %s)", (fence,))
        began = time.monotonic()
        sql.execute("SELECT fence, next FROM once.offset_claim('g', 't', 0)")
        later, stored = sql.fetchone()
        assert 14 < time.monotonic() - began < 20
        assert later > fence and stored is None
        with pytest.raises(psycopg2.OperationalError):
            member.execute("COMMIT")


def test_F11_a_member_that_works_is_waited_for(cluster, database):
    with cluster.session(database) as sql, cluster.session(database, autocommit=False) as member:
        sql.execute("SELECT fence FROM once.offset_claim('g', 't', 0)")
        fence = sql.fetchone()[0]
        member.execute("SELECT once.accept_offset('g', 't', 0, 0, 9, %s)", (fence,))
        answer = []
        claimer = threading.Thread(target=lambda: answer.extend(
            cluster.query("SELECT next FROM once.offset_claim('g', 't', 0)", database=database)))
        claimer.start()
        for _ in range(6):  # 18 s, with a statement every 3 s
            time.sleep(3)  # a member that works
            member.execute("SELECT 1")
        assert not answer
        member.connection.commit()
        claimer.join(10)
        assert answer == [(10,)]


def test_E10_rows_of_a_worker_that_dies_come_back(cluster, database):
    with cluster.session(database) as sql, cluster.session(database, autocommit=False) as worker:
        for id_, key in (("a1", "a"), ("a2", "a"), ("b1", "b")):
            sql.execute("SELECT once.inbox_put('w', %s, 'x', %s)", (id_, key))
        worker.execute("SELECT id FROM once.inbox_take('w', 1)")
        assert worker.fetchall() == [("a1",)]
        sql.execute("SELECT id FROM once.inbox_take('w', 10)")
        assert sql.fetchall() == [("b1",)], "a1 is in other hands, so a2 waits"
        sql.execute("SELECT pg_terminate_backend(%s)", (worker.connection.get_backend_pid(),))

        def all_back():
            sql.execute("SELECT id FROM once.inbox_take('w', 10) ORDER BY seq")
            return sql.fetchall() == [("a1",), ("a2",), ("b1",)]
        wait_until("its rows are back", all_back, 10)


def test_E10_workers_keep_the_order_of_a_key(cluster, database):
    """Four workers, twenty keys, some failures: each key's ids are done in the order in which they were put."""
    with cluster.session(database) as sql:
        sql.execute("""SELECT once.inbox_put('w', format('%s-%s', k, n), 'x', 'k' || k)
                       FROM generate_series(1, 15) n, generate_series(1, 20) k ORDER BY n, k""")
        sql.execute("CREATE TABLE done (at bigserial, id text)")

    def work(number):
        with cluster.session(database, autocommit=False) as sql:
            for turn in range(400):
                sql.execute("SELECT id FROM once.inbox_take('w', 7)")
                ids = [row[0] for row in sql.fetchall()]
                if (turn + number) % 9 == 0 and ids:
                    sql.execute("SELECT once.inbox_fail('w', %s, 'x', '10 ms')", (ids[0],))
                elif (turn + number) % 7 == 0:
                    sql.connection.rollback()
                    continue
                else:
                    for id_ in ids:
                        sql.execute("INSERT INTO done (id) VALUES (%s)", (id_,))
                    sql.execute("SELECT once.inbox_done('w', %s)", (ids,))
                sql.connection.commit()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    with cluster.session(database) as sql:
        sql.execute("SELECT id FROM done ORDER BY at")
        done = [row[0] for row in sql.fetchall()]
    assert len(done) == len(set(done)) == 300
    for key in range(1, 21):
        turns = [int(id_.split("-")[1]) for id_ in done if id_.split("-")[0] == str(key)]
        assert turns == sorted(turns), f"key {key}: {turns}"


def together(count, work):
    """Runs work(number) in `count` threads; raises what one of them raised."""
    failures = []

    def guarded(number):
        try:
            work(number)
        except Exception as error:  # pylint: disable=broad-except
            failures.append(error)
    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    if failures:
        raise failures[0]


def test_E5_overlapping_unsorted_batches_do_not_deadlock(cluster, database):
    cluster.execute("SELECT once.consumer_set('c', 'bigint')", database=database)
    news = []
    start = threading.Barrier(8)

    def receive(number):
        with cluster.session(database) as sql:
            for turn in range(12):
                ids = [turn * 1000 + (i * (number * 2 + 7)) % 1999 for i in range(1500)]
                start.wait(60)
                sql.execute("SELECT count(*) FILTER (WHERE verdict = 'new') FROM once.accept_many('c', %s::bigint[])", (ids,))
                news.append(sql.fetchone()[0])

    together(8, receive)
    keys = cluster.query("SELECT count(*) FROM once.key_1_0", database=database)[0][0]
    assert sum(news) == keys


def test_E2_sessions_that_run_abreast_accept_each_id_once(cluster, database):
    """The one that trails meets only duplicates and catches up, so both stay at the same id: the narrow race
    between looking and inserting is met again and again."""
    cluster.execute("SELECT once.consumer_set('c', 'bigint'); CREATE UNLOGGED TABLE news (id bigint)", database=database)

    def receive(_):
        with cluster.session(database) as sql:
            sql.execute("SET synchronous_commit = off")
            sql.execute("""DO $$ BEGIN
                FOR i IN 1 .. 40000 LOOP
                    IF once.accept('c', i::bigint) = 'new' THEN INSERT INTO news VALUES (i); END IF;
                    COMMIT;
                END LOOP;
            END $$""")

    together(3, receive)
    assert cluster.query("SELECT count(*), count(DISTINCT id) FROM news", database=database) == [(40000, 40000)]


CALLS = {"accept_offset": "SELECT once.accept_offset('g', 't', 0, n, n) FROM (SELECT %s::bigint AS n) n",
         "accept_position": "SELECT once.accept_position('c', 's', %s)"}


@pytest.mark.parametrize("function", CALLS)
def test_P22_a_held_xmin_does_not_make_positions_slower(cluster, database, function):
    """While an old snapshot is held every version of the row stays. The session that writes them must not walk past all
    of them to the last one: pages looked at, not time, which is the machine's."""
    def pages(sql, number):
        sql.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + CALLS[function], (number,))
        plan = sql.fetchone()[0][0]["Plan"]
        return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]

    cluster.execute("SELECT once.consumer_set('c', 'bigint')", database=database)
    with cluster.session(database, autocommit=False) as holder, cluster.session(database) as sql:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT 1")
        for number in range(100):
            sql.execute(CALLS[function], (number,))
        few = min(pages(sql, number) for number in range(100, 110))
        for number in range(110, 3000):
            sql.execute(CALLS[function], (number,))
        many = min(pages(sql, number) for number in range(3000, 3010))
        assert many <= few + 2


# A call, the table whose index it writes, and what it says when it comes again.
WRITTEN_PAST_THE_EXECUTOR = {
    "accept": ("key_1_0", "SELECT once.accept('c', 2::bigint)", "duplicate"),
    "accept_many": ("key_1_0", "SELECT DISTINCT verdict FROM once.accept_many('c', ARRAY(SELECT generate_series(1000, 1099))::bigint[])", "duplicate"),
    "accept_position": ("position", "SELECT once.accept_position('c', 's', 7)", "duplicate"),
    "accept_window": ("position_window", "SELECT once.accept_window('c', 's', 7)", "duplicate"),
    "accept_offset": ("consumer_offset", "SELECT verdict FROM once.accept_offset('g', 't', 0, 0, 9)", "duplicate"),
    "claim": ("claim_0_0", "SELECT verdict FROM once.claim('s', 'k')", "in_progress"),
}


@pytest.mark.parametrize("call", WRITTEN_PAST_THE_EXECUTOR)
def test_E2_what_comes_while_an_index_is_made_again_is_known_afterwards(cluster, database, call):
    """REINDEX CONCURRENTLY builds the new index beside the old one and relies on everybody who writes to write both:
    whoever left it out, or went on with the old one, would be told `new` once more."""
    table, statement, again = WRITTEN_PAST_THE_EXECUTOR[call]

    def answer(sql):
        sql.execute(statement)
        return sql.fetchall()

    with cluster.session(database) as before:
        before.execute("SELECT once.consumer_set('c', 'bigint')")
        before.execute("SELECT once.accept('c', 1::bigint), once.accept_position('c', 'x', 1), once.accept_window('c', 'x', 1), "
                       "once.accept_offset('x', 't', 0, 0, 9), once.claim('s', 'x')")
        with reindexing(cluster, database, f"once.{table}"):
            assert answer(before) == [("new",)]
        with cluster.session(database) as after:
            after.execute("SET enable_seqscan = off")
            assert answer(after) == answer(before) == [(again,)]
