"""Receiving as far as it needs a server of its own or its processes: expiry, dumps, members that hang."""
import subprocess
import tempfile
import threading
import time

import psycopg2
import psycopg2.errors
import pytest

from support.postgres import reindexing
from support.process import STAGED_BIN, TOP, wait_until


@pytest.fixture
def database(cluster, world_name):
    cluster.create_database(world_name)
    yield world_name
    cluster.execute(f'DROP DATABASE "{world_name}" WITH (FORCE)')


def settle(sql):
    """Sweeps until nothing is due."""
    steps = []
    while True:
        sql.execute("SELECT step FROM once.sweep()")
        row = sql.fetchone()
        if row is None:
            return steps
        steps.append(row[0])


def state(sql, serial):
    """Of a generation of the ring of a week; serials begin with 4."""
    sql.execute("SELECT state FROM once.memory WHERE ring = 'seen_week' AND serial = %s", (serial,))
    return (sql.fetchone() or [None])[0]


def turn(sql):
    sql.execute("SELECT once.ring_turn('seen_week')")


# As if the generations had closed eight days earlier.
AGE = """UPDATE once.ring SET closed_at = ARRAY(SELECT c - interval '8 days' FROM unnest(closed_at) c),
    closed_for = ARRAY(SELECT c + interval '8 days' FROM unnest(closed_for) c) WHERE name = 'seen_week'"""


def verdict(sql, consumer, number):
    sql.execute("SELECT once.accept(%s, %s::bigint)", (consumer, number))
    return sql.fetchone()[0]


def test_D3_BE6_expiry_of_a_million_keys_of_two_writes_next_to_no_wal(cluster, database):
    """However many keys there are: no step of a sweep reads them."""
    with cluster.session(database) as sql, cluster.session(database, autocommit=False) as sweeper:
        sql.execute("SET lock_timeout = '1 s'")
        # as a million accepts leave it
        fill = """INSERT INTO once.seen_week_{} SELECT once.owner_of('consumer', 'c'), ('80' || lpad(to_hex(i >> 16), 10, '0') || '81'
                      || lpad(to_hex(i >> 8 & 255), 2, '0') || '80' || lpad(to_hex(i & 255), 2, '0') || repeat('0', 12))::uuid
                  FROM generate_series({}, {}) i"""
        sql.execute("ALTER TABLE once.seen_week_0 SET (autovacuum_enabled = off); ALTER TABLE once.seen_week_1 SET (autovacuum_enabled = off)")
        sql.execute(fill.format(0, 1, 1_000_000))
        settle(sql)
        turn(sql)
        settle(sql)
        sql.execute(fill.format(1, 1_000_001, 2_000_000))
        sql.execute(AGE)
        sql.execute("SELECT sum(pg_total_relation_size('once.seen_week_' || i)) FROM generate_series(0, 3) i")
        before = sql.fetchone()[0]
        sql.execute("CHECKPOINT")
        sql.execute("SELECT pg_current_wal_insert_lsn()")
        start = sql.fetchone()[0]
        longest = 0
        steps = []
        sweeper.execute("SET statement_timeout = '100 ms'")
        for turn_ in range(3):
            began = time.monotonic()
            sweeper.execute("SELECT step FROM once.sweep()")
            longest = max(longest, time.monotonic() - began)
            steps += [step for (step,) in sweeper.fetchall()]
            # What it has locked is in nobody's way, however long it takes to commit.
            assert verdict(sql, "c", 2_000_000) == "duplicate"
            assert verdict(sql, "c", -turn_) == "new"
            sweeper.connection.commit()
        assert steps == ["retired", "truncated"]
        sql.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", (start,))
        wal = sql.fetchone()[0]
        sql.execute("SELECT sum(pg_total_relation_size('once.seen_week_' || i)) FROM generate_series(0, 3) i")
        after = sql.fetchone()[0]
        assert wal < 1_000_000, f"{wal} bytes of WAL"
        assert after * 10 < before * 6, f"{before} bytes, afterwards {after}"
        assert verdict(sql, "c", 2_000_000) == "duplicate"
        assert verdict(sql, "c", 1) == "new"


def test_BE6_a_generation_that_somebody_reads_is_left_for_the_next_time(cluster, database):
    """A TRUNCATE that queues for its lock makes every lookup behind it wait."""
    with cluster.session(database) as sql, cluster.session(database, autocommit=False) as reader:
        assert verdict(sql, "c", 1) == "new"
        settle(sql)
        turn(sql)
        settle(sql)
        sql.execute(AGE)
        reader.execute("LOCK TABLE once.seen_week_0 IN ACCESS SHARE MODE")
        assert settle(sql) == ["retired"], "the snapshot of the reader may still see it"
        reader.connection.rollback()
        reader.execute("SELECT 1")  # a fresh one does not
        reader.execute("LOCK TABLE once.seen_week_0 IN ACCESS SHARE MODE")
        sql.execute("SELECT count(*) FROM once.sweep()")
        assert state(sql, 4) == "retired"
        reader.connection.rollback()
        assert settle(sql)[0] == "truncated"


def test_BE22_no_step_of_a_sweep_reads_a_row(cluster, database):
    """A scan that somebody left in the middle of a generation leads no later one astray: a sweep begins none."""
    generations = "(SELECT oid FROM pg_class WHERE relnamespace = 'once'::regnamespace AND relname ~ '^(seen|claim)_.*_[0-9]+$' AND relkind = 'r')"
    pages_read = f"SELECT sum(pg_stat_get_xact_blocks_fetched(oid)) FROM {generations} g"
    with cluster.session(database) as sql, cluster.session(database, autocommit=False) as sweeper:
        sql.execute("INSERT INTO once.seen_week_0 SELECT once.owner_of('consumer', 'c'), gen_random_uuid() FROM generate_series(1, 20000)")
        assert verdict(sql, "c", 1) == "new"
        settle(sql)
        turn(sql)
        settle(sql)
        sql.execute(AGE)
        steps = []
        for _ in range(3):
            sql.execute("BEGIN; DECLARE middle CURSOR FOR SELECT * FROM once.seen_week_0; MOVE 12000 IN middle; COMMIT")
            sweeper.execute("SELECT step FROM once.sweep()")
            steps += [step for (step,) in sweeper.fetchall()]
            sweeper.execute(pages_read)
            assert sweeper.fetchone()[0] == 0
            sweeper.connection.commit()
        assert steps == ["retired", "truncated"]
        assert verdict(sql, "c", 2) == "new"
        sweeper.execute("SELECT count(*) FROM once.seen_week_1")
        sweeper.execute(pages_read)
        assert sweeper.fetchone()[0] > 0, "the measure measures"


def test_D4_a_dump_in_another_session_only_delays_the_hand_over(cluster, database):
    """A snapshot that is held keeps the states where they are; accept goes on, whoever acts under it is right."""
    with cluster.session(database) as sql, cluster.session(database, autocommit=False) as dump:
        assert verdict(sql, "c", 1) == "new"
        dump.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        dump.execute("SELECT count(*) FROM once.machine")
        turn(sql)
        settle(sql)
        assert [verdict(sql, "c", n) for n in (1, 2, 2)] == ["duplicate", "new", "duplicate"]
        assert verdict(dump, "c", 3) == "new"
        dump.connection.commit()
        settle(sql)
        assert state(sql, 4) == "read_only"
        assert [verdict(sql, "c", n) for n in (1, 2, 3)] == ["duplicate"] * 3


def test_D8_a_snapshot_from_before_a_truncation_is_not_fooled(cluster, database):
    """TRUNCATE obeys no snapshot: were it not to wait, the old transaction would find its generation empty."""
    with cluster.session(database) as sql, cluster.session(database, autocommit=False) as old:
        assert verdict(sql, "c", 1) == "new"
        turn(sql)
        settle(sql)
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM once.machine")
        sql.execute(AGE)
        settle(sql)
        assert state(sql, 4) == "retired"
        assert verdict(old, "c", 1) == "duplicate"
        old.connection.rollback()
        settle(sql)
        assert state(sql, 4) == "free"


def test_BE7_no_setting_of_a_session_switches_the_memory_off(cluster, database):
    """Under session_replication_role = replica no trigger fires: sessions that know the state of a ring, or of a consumer,
    must find out all the same that it changed."""
    with cluster.session(database) as a, cluster.session(database) as b, cluster.session(database) as replica:
        replica.execute("SET session_replication_role = replica")
        assert verdict(a, "c", 1) == "new"
        turn(replica)
        settle(replica)
        assert verdict(a, "c", 2) == "new"
        assert verdict(b, "c", 3) == "new"
        assert [verdict(s, "c", n) for s in (a, b) for n in (1, 2, 3)] == ["duplicate"] * 6
        replica.execute("SELECT once.consumer_set('c', keep => '30 days')")
        assert verdict(a, "c", 4) == "new"
        turn(replica)
        assert verdict(b, "c", 5) == "new"
        assert [verdict(s, "c", n) for s in (a, b) for n in (4, 5)] == ["duplicate"] * 4
        replica.execute("CREATE ROLE be7; SELECT once.consumer_grant('c', 'be7')")
        a.execute("CREATE ROLE be7_other; SELECT once.grant_consumer('be7_other'); SET ROLE be7_other")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            verdict(a, "c", 6)
        a.execute("RESET ROLE; DROP OWNED BY be7, be7_other; DROP ROLE be7, be7_other")


def test_BE5_a_consumer_per_tenant_makes_no_tables_and_costs_the_sweep_nothing(cluster, database):
    with cluster.session(database) as sql:
        sql.execute("SELECT once.accept('first', 1)")
        sql.execute("SELECT count(*) FROM pg_class")
        relations = sql.fetchone()[0]
        sql.execute("SELECT count(*) FILTER (WHERE once.accept('tenant ' || n, n) = 'new') FROM generate_series(1, 20000) n")
        assert sql.fetchone()[0] == 20000
        sql.execute("SELECT count(once.consumer_set('tenant ' || n, max_attempts => 3)) FROM generate_series(1, 1000) n")
        settle(sql)
        turn(sql)
        assert settle(sql)[-2:] == ["barrier", "read_only"]
        sql.execute("SELECT count(*) FILTER (WHERE once.accept('tenant ' || n, n) = 'duplicate') FROM generate_series(1, 20000) n")
        assert sql.fetchone()[0] == 20000
        sql.execute("SELECT count(*) FROM pg_class")
        assert sql.fetchone()[0] == relations
        sql.execute("SELECT pg_stat_reset(); SELECT step FROM once.sweep()")
        sql.execute("DROP EXTENSION pg_once CASCADE")


def connection_of(cluster):
    return ["-h", str(cluster.folder), "-p", str(cluster.port), "-U", "postgres"]


def restore(cluster, source, target, *options):
    """Through pg_dump -Fc and pg_restore, as people do it."""
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run([STAGED_BIN / "pg_dump", *connection_of(cluster), "-Fc", source], check=True, stdout=file)
        done = subprocess.run([STAGED_BIN / "pg_restore", *connection_of(cluster), *options, "-d", target, file.name],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_H20_a_dump_carries_settings_and_keys_but_no_fence(cluster, database):
    target = f"{database}_restored"
    with cluster.session(database) as sql:
        sql.execute("SELECT once.consumer_set('c', keep => '3 days'); SELECT once.accept('c', 1)")
        turn(sql)
        settle(sql)
        sql.execute("SELECT once.accept('c', 2); SELECT once.accept('t', 'x')")
        turn(sql)  # dumped in the middle of a handover
        sql.execute("SELECT once.accept('c', 3)")
        sql.execute("SELECT once.accept_position('c', 's', 7), once.accept_window('c', 's', 7)")
        sql.execute("SELECT once.inbox_put('t', 'i', 'x')")
        sql.execute("SELECT once.offset_claim('g', 't', 0); SELECT once.accept_offset('g', 't', 0, 0, 9)")
    cluster.create_database(target, extension=False)
    restore(cluster, database, target)
    with cluster.session(target) as sql:
        assert [verdict(sql, "c", n) for n in (1, 2, 3, 4)] == ["duplicate"] * 3 + ["new"]
        sql.execute("SELECT once.accept('t', 'x'), once.accept('t', 'i'), keep::text FROM once.consumer WHERE name = 'c'")
        assert sql.fetchone() == ("duplicate", "duplicate", "3 days")
        sql.execute("SELECT once.accept_position('c', 's', 7), once.accept_window('c', 's', 7), (SELECT id FROM once.inbox_take('t', 1))")
        assert sql.fetchone() == ("duplicate", "duplicate", "i")
        sql.execute("SELECT count(*) FROM once.offset_fence")
        assert sql.fetchone()[0] == 0
        sql.execute("SELECT next FROM once.offset_claim('g', 't', 0)")
        assert sql.fetchone()[0] == 10
        assert settle(sql)[0] == "adopted"
        assert state(sql, 5) == "read_only", "the handover goes on with the new server's xids"
        assert [verdict(sql, "c", n) for n in (1, 2, 3, 4)] == ["duplicate"] * 4
    cluster.execute(f'DROP DATABASE "{target}" WITH (FORCE)')


def test_BE10_a_session_goes_on_over_a_restore_into_its_database(cluster, database):
    with cluster.session(database) as a, cluster.session(database) as sql:
        sql.execute("SELECT once.consumer_set('c', keep => '30 days')")
        assert verdict(a, "c", 1) == "new"
        turn(sql)
        settle(sql)
        assert verdict(a, "c", 2) == "new"
        restore(cluster, database, database, "--clean", "--if-exists")
        assert [verdict(a, "c", n) for n in (1, 2, 3)] == ["duplicate", "duplicate", "new"]
        a.execute("DISCARD ALL")
        assert [verdict(a, "c", n) for n in (1, 2, 3)] == ["duplicate"] * 3


def test_BE7_data_alone_restored_without_triggers_is_known(cluster, database):
    """Into a database where the rings are younger: rows in tables that should have none count, and the rings' own rows come
    along."""
    target = f"{database}_data"
    with cluster.session(database) as sql:
        for n in (1, 2, 3):
            assert verdict(sql, "c", n) == "new"
            turn(sql)
            settle(sql)
        assert verdict(sql, "c", 4) == "new"
    cluster.create_database(target)
    with cluster.session(target) as a:
        assert verdict(a, "d", 1) == "new"  # it knows the rings without rows
        a.execute("TRUNCATE once.seen_week_0")
        with tempfile.NamedTemporaryFile() as file:
            tables = [option for name in ("ring", "generation", "consumer_state", "seen_week_*") for option in ("-t", f"once.{name}")]
            subprocess.run([STAGED_BIN / "pg_dump", *connection_of(cluster), "-Fc", "--data-only", *tables, database], check=True, stdout=file)
            subprocess.run([STAGED_BIN / "pg_restore", *connection_of(cluster), "--data-only", "--disable-triggers", "-d", target, file.name], check=True)
        assert [verdict(a, "c", n) for n in (1, 2, 3, 4, 5)] == ["duplicate"] * 4 + ["new"]
        settle(a)
        assert [verdict(a, "c", n) for n in (1, 2, 3, 4, 5)] == ["duplicate"] * 5
    cluster.execute(f'DROP DATABASE "{target}" WITH (FORCE)')


def test_BE3_what_is_remembered_moves_by_the_dump_that_OPERATING_names(cluster, database):
    """Before a switch by logical replication, which our tables must not be part of. pg_dump --schema=once would carry nothing."""
    options = ["--extension=pg_once", "--data-only"]
    assert f"`pg_dump {' '.join(options)}`" in (TOP / "relay/OPERATING.md").read_text(encoding="utf-8")
    target = f"{database}_moved"
    answers = """SELECT once.accept('c', 'i')::text, once.accept_position('c', 's', 5)::text, (once.accept_offset('g', 't', 0, 0, 1)).verdict::text,
        (once.claim('s', 'k')).verdict::text, (once.transition('m', 'e', 'go', 'ev')).verdict::text"""
    with cluster.session(database) as sql:
        sql.execute("""SELECT once.consumer_set('c', keep => '90 days'), once.scope_set('s'), once.topic_set('t', max_bytes => 9),
            once.machine_set('m', 'a', '[{"from": "a", "event": "go", "to": "b"}]')""")
        sql.execute(answers)
        assert sql.fetchone() == ("new", "new", "new", "new", "moved")
        sql.execute("SELECT once.publish('t', '1', dedup_key => 'k')")
        event = sql.fetchone()[0]
    cluster.create_database(target, extension=False)
    with cluster.session(target) as sql:
        sql.execute("CREATE EXTENSION pg_once")
        with tempfile.NamedTemporaryFile() as file:
            subprocess.run([STAGED_BIN / "pg_dump", *connection_of(cluster), *options, database], check=True, stdout=file)
            subprocess.run([STAGED_BIN / "psql", *connection_of(cluster), "-q1v", "ON_ERROR_STOP=1", "-f", file.name, target], check=True,
                           stdout=subprocess.DEVNULL)
        sql.execute("SELECT once.grant_relay('relay')")
        sql.execute(answers)
        assert sql.fetchone() == ("duplicate", "duplicate", "duplicate", "in_progress", "duplicate")
        sql.execute("SELECT once.publish('t', '1', dedup_key => 'k'), (SELECT keep FROM once.consumer)::text, (SELECT max_bytes FROM once.topics)")
        assert sql.fetchone() == (event, "90 days", 9)
    cluster.execute(f'DROP DATABASE "{target}" WITH (FORCE)')


def test_BE13_a_database_that_moves_to_another_encoding_knows_its_ids(cluster, database):
    """Digests are over UTF-8, whatever the database's encoding: of ids, names, events, requests and contents."""
    calls = """SELECT once.accept('kü', 'Müller-1')::text, (SELECT count(*) FROM once.accept_many('kü', '{Müller-2}') WHERE verdict = 'new')::text,
        once.publish('t', '1'::jsonb, dedup_key => 'größe')::text,
        (SELECT verdict::text FROM once.transition('müll', 'kü', 'öffnen', 'ä')), once.content_id('kü', '{"ä": "ö", "name": "Müller"}')::text,
        once.content_id('kü', '{"ä": "ö", "name": "Müller"}', '{name}')::text, encode(once.fingerprint('{"ä": "Müller"}'), 'hex')"""
    source, target = f"{database}_latin1", f"{database}_utf8"
    cluster.execute(f"""CREATE DATABASE "{source}" TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'""")
    cluster.create_database(target, extension=False)
    with cluster.session(source) as sql:
        sql.execute("CREATE EXTENSION pg_once")
        sql.execute("""SELECT once.machine_set('müll', 'zu', '[{"from": "zu", "event": "öffnen", "to": "auf"}]')""")
        sql.execute(calls)
        first = sql.fetchone()
        assert first[:2] == ("new", "1") and first[3] == "moved"
        sql.execute("SELECT once.issue_token('kü', '1 hour')")
        token = sql.fetchone()[0]
    restore(cluster, source, target)
    with cluster.session(target) as sql:
        sql.execute(calls)
        again = sql.fetchone()
        assert again[:2] == ("duplicate", "0") and again[3] == "duplicate"
        assert again[2] == first[2], "the event that was published before"
        assert again[4:] == first[4:]
        sql.execute("SELECT once.redeem_token('kü', %s)", (token,))
        assert sql.fetchone()[0] == "ok"
    for name in (source, target):
        cluster.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


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


def test_F11_a_member_that_works_is_not_ended(cluster, database):
    """Who claims its partition is told so after 15 s (55P03), and gets it when the member is done."""
    with cluster.session(database) as sql, cluster.session(database, autocommit=False) as member:
        sql.execute("SELECT fence FROM once.offset_claim('g', 't', 0)")
        fence = sql.fetchone()[0]
        member.execute("SELECT once.accept_offset('g', 't', 0, 0, 9, %s)", (fence,))
        refused = []

        def claim():
            try:
                cluster.query("SELECT next FROM once.offset_claim('g', 't', 0)", database=database)
            except psycopg2.Error as error:
                refused.append(error.pgcode)
        claimer = threading.Thread(target=claim)
        claimer.start()
        for _ in range(6):  # 18 s, with a statement every 3 s
            time.sleep(3)  # a member that works
            member.execute("SELECT 1")
        claimer.join(10)
        assert refused == ["55P03"]
        member.connection.commit()
        sql.execute("SELECT next FROM once.offset_claim('g', 't', 0)")
        assert sql.fetchone() == (10,)


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
    news = []
    start = threading.Barrier(8)

    def receive(number):
        with cluster.session(database) as sql:
            for turn in range(12):
                ids = [turn * 1000 + (i * (number * 2 + 7)) % 1999 for i in range(1500)]
                start.wait(60)
                sql.execute("SELECT count(*) FILTER (WHERE verdict = 'new') FROM once.accept_many_bigint('c', %s::bigint[])", (ids,))
                news.append(sql.fetchone()[0])

    together(8, receive)
    keys = cluster.query("SELECT count(*) FROM once.seen_week_0", database=database)[0][0]
    assert sum(news) == keys


def test_E2_sessions_that_run_abreast_accept_each_id_once(cluster, database):
    """The one that trails meets only duplicates and catches up, so both stay at the same id: the narrow race
    between looking and inserting is met again and again."""
    cluster.execute("CREATE UNLOGGED TABLE news (id bigint)", database=database)

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
    "accept": ("seen_week_0", "SELECT once.accept('c', 2::bigint)", "duplicate"),
    "accept_many": ("seen_week_0", "SELECT DISTINCT verdict FROM once.accept_many_bigint('c', ARRAY(SELECT generate_series(1000, 1099))::bigint[])", "duplicate"),
    "accept_position": ("position", "SELECT once.accept_position('c', 's', 7)", "duplicate"),
    "accept_window": ("position_window", "SELECT once.accept_window('c', 's', 7)", "duplicate"),
    "accept_offset": ("consumer_offset", "SELECT verdict FROM once.accept_offset('g', 't', 0, 0, 9)", "duplicate"),
    "claim": ("claim_week_0", "SELECT verdict FROM once.claim('s', 'k')", "in_progress"),
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
        before.execute("SELECT once.accept('c', 1::bigint), once.accept_position('c', 'x', 1), once.accept_window('c', 'x', 1), "
                       "once.accept_offset('x', 't', 0, 0, 9), once.claim('s', 'x')")
        with reindexing(cluster, database, f"once.{table}"):
            assert answer(before) == [("new",)]
        with cluster.session(database) as after:
            after.execute("SET enable_seqscan = off")
            assert answer(after) == answer(before) == [(again,)]
