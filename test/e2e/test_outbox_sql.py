"""The outbox's SQL side where it takes a second server, a second session or time to see: no Kafka."""
import os
import signal
import subprocess
import threading
import time

import psycopg2
import pytest
from support.postgres import Cluster, RELAY_ROLE, run_as_server
from support.process import STAGED_BIN, wait_until

HOLD_LIMIT = 15  # seconds without a new statement, after which a holder is ended


def lock(cursor, lane):
    cursor.execute("SELECT acquired, evicted FROM once.lane_lock(%s)", (lane,))
    return cursor.fetchone()


def test_P4_a_hung_holder_loses_the_lane(cluster, world_name):
    """One holder idle, one stopped in the middle of a COPY, one alive, one of another role."""
    database = cluster.create_database(world_name)
    database.execute("SELECT once.set_lanes(4)")
    idle = database.connect(user=RELAY_ROLE)
    lock(idle.cursor(), 0)
    copying = subprocess.Popen(
        [STAGED_BIN / "psql", "-Xq", "-d", database.dsn(RELAY_ROLE), "-c", "SELECT * FROM once.lane_lock(1)", "-c",
         "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 10000000)) TO STDOUT"], stdout=subprocess.DEVNULL)
    alive = database.connect(user=RELAY_ROLE)
    lock(alive.cursor(), 2)
    other = database.connect()  # the superuser
    lock(other.cursor(), 3)
    wait_until("the copy runs", lambda: database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT%%' AND state = 'active'"), 10)
    os.kill(copying.pid, signal.SIGSTOP)
    try:
        waiting = database.connect(user=RELAY_ROLE).cursor()
        assert [lock(waiting, lane) for lane in range(4)] == [(False, False)] * 4
        for _ in range(HOLD_LIMIT + 1):
            time.sleep(1)  # the limit of a silent holder passes; this one is heard
            alive.cursor().execute("SELECT 1")
        assert lock(other.cursor(), 0) == (False, False), "only a holder of the same role is ended"
        answers = [lock(waiting, lane) for lane in range(4)]
        assert answers == [(False, True), (False, True), (False, False), (False, False)]
        wait_until("the idle holder's lane is free", lambda: lock(waiting, 0)[0], 5)
        wait_until("the copying holder's lane is free", lambda: lock(waiting, 1)[0], 5)
        with pytest.raises(psycopg2.OperationalError):
            idle.cursor().execute("SELECT 1")
    finally:
        os.kill(copying.pid, signal.SIGKILL)
        copying.wait()
    database.drop()


def position(database):
    columns = "incarnation, database_oid, system_identifier"
    here = database.query(f"SELECT {columns} FROM once.identity(0)")[0]
    snapshot, lsn, timeline = database.query("SELECT snapshot::text, lsn::text, timeline FROM once.cut(0)")[0]
    last = database.query("SELECT seq, id FROM once.event_0 ORDER BY seq DESC LIMIT 1")[0]
    return (*here, timeline, lsn, snapshot, *last)


def verdict(database, at):
    ok, reason = database.query("SELECT ok, reason FROM once.history_check(0, %s, %s, %s, %s, %s, %s, %s, %s)", at)[0]
    return "ok" if ok else reason


def test_P11_P12_P29_histories_after_a_failover(world_name):
    with Cluster(name="primary").create() as primary, Cluster(name="standby") as standby:
        primary.start()
        old = primary.create_database(world_name)
        old.execute("SELECT once.publish_text('t', 'before')")
        standby.copy_of(primary).start()
        shipped = position(old)
        wait_until("the standby has it", lambda: standby.query("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn",
                                                               (shipped[4],))[0][0], 30)
        new = type(old)(standby, old.name)
        # H17: read only on a standby, what would write says so
        assert new.value("SELECT in_recovery FROM once.identity(0)")
        assert verdict(new, shipped) == "standby"
        for statement in ("SELECT once.publish_text('t', 'p')", "SELECT once.cut(0)", "SELECT once.rotate()",
                          "SELECT once.publish_many_text('t', ARRAY['p'])"):
            with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
                new.execute(statement)
        standby.promote()
        assert verdict(new, shipped) == "ok", "nothing shipped was lost"
        old.execute("SELECT once.publish_text('t', 'after')")
        lost = position(old)
        assert verdict(new, lost) in ("xid", "lsn"), "the old primary shipped what the new one never had"
        for _ in range(3):
            new.execute("SELECT once.publish_text('t', 'other')")
        assert verdict(new, lost) == "lsn", "its numbers are used again for other events by now"
        assert verdict(new, shipped) == "ok"
        assert verdict(old, position(new)) in ("timeline", "xid"), "the old primary sees that it was left"
        old.execute("SELECT once.publish_text('t', 'p') FROM generate_series(1, 9)")
        old.execute("SELECT pg_current_xact_id(); SELECT pg_current_xact_id()")
        assert verdict(old, position(new)) == "timeline"


def test_P21_a_cancelled_wait_for_standbys_ships_nothing(world_name):
    with Cluster(name="alone").create() as cluster:
        cluster.start()
        database = cluster.create_database(world_name)
        database.execute("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
        database.execute("SELECT pg_reload_conf()")
        wait_until("it counts", lambda: database.value("SHOW synchronous_standby_names") == "absent", 10)
        connection = database.connect(options="-c synchronous_commit=local")
        cursor = connection.cursor()
        cursor.execute("SELECT once.publish_text('t', 'local')")  # committed here, not on any standby
        cursor.execute("SET statement_timeout = '1s'")
        with pytest.raises(psycopg2.errors.QueryCanceled):
            cursor.execute("SELECT * FROM once.cut(0)")
        cursor.execute("SET statement_timeout = 0")
        canceller = threading.Timer(1, lambda: database.execute("SELECT pg_cancel_backend(%s)",
                                                                 (connection.info.backend_pid,)))
        canceller.start()
        with pytest.raises(psycopg2.errors.QueryCanceled):
            cursor.execute("SELECT * FROM once.cut(0)")
        canceller.join()


def test_P12_the_cut_waits_before_commits_do(world_name):
    """Commits wait for a new synchronous standby once the checkpointer has read the setting, and it may be busy; what
    pg_settings and pg_stat_replication say is ahead of it. A standby promoted meanwhile lacks commits that were
    acknowledged, which is PostgreSQL's affair; they must not have been shipped."""
    with Cluster(name="busy").create() as cluster:
        cluster.start()
        database = cluster.create_database(world_name)
        database.execute("SELECT * FROM once.cut(0)")
        checkpointer = database.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
        os.kill(checkpointer, signal.SIGSTOP)
        try:
            database.execute("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
            database.execute("SELECT pg_reload_conf()")
            wait_until("it counts", lambda: database.value("SHOW synchronous_standby_names") == "absent", 10)
            connection = database.connect(options="-c statement_timeout=1s")
            connection.cursor().execute("SELECT once.publish_text('t', 'acknowledged')")
            with pytest.raises(psycopg2.errors.QueryCanceled):
                connection.cursor().execute("SELECT * FROM once.cut(0)")
            cut = threading.Thread(target=lambda: database.execute("SELECT * FROM once.cut(0)"))
            cut.start()
            database.wait_for("the cut waits", "SELECT count(*) > 0 FROM pg_stat_activity WHERE query ~ 'once.cut' "
                              "AND state = 'active' AND pid <> pg_backend_pid()")
        finally:
            os.kill(checkpointer, signal.SIGCONT)
        database.execute("ALTER SYSTEM RESET synchronous_standby_names")
        database.execute("SELECT pg_reload_conf()")
        cut.join(20)
        assert not cut.is_alive(), "nothing to wait for any more"


def test_H20_a_dump_has_the_settings_and_no_identity(cluster, world_name):
    source = cluster.create_database(world_name)
    source.execute("SELECT once.set_lanes(3, 5, 1000)")
    source.execute("SELECT once.topic_set('small', 100)")
    source.execute(f"SELECT once.grant_publisher('{RELAY_ROLE}')")
    source.execute("SELECT once.publish_text('t', 'p', key => g::text) FROM generate_series(1, 20) g")
    source.execute("SELECT once.report(0, incarnation, 'c', '{}', 1, '{}') FROM once.lane WHERE lane = 0")
    file = cluster.folder / f"{world_name}.sql"
    run_as_server(STAGED_BIN / "pg_dump", "-d", source.dsn("postgres"), "-f", file)
    target = cluster.create_database(world_name + "_restored", extension=False)
    run_as_server(STAGED_BIN / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", target.dsn("postgres"), "-f", file)
    assert target.query("SELECT lane, armed, children, generation_rows FROM once.lane ORDER BY 1") == [
        (lane, False, 5, 1000) for lane in range(3)]
    assert not target.query("SELECT * FROM once.relay_report")
    assert target.query("SELECT topic, max_bytes FROM once.topics") == [("small", 100)]
    shared = set(source.query("SELECT incarnation FROM once.lane")) & set(target.query("SELECT incarnation FROM once.lane"))
    assert not shared, "a restored copy is another stream"
    assert target.value("SELECT count(*) FROM once.event_0") == 0
    with target.connect(user=RELAY_ROLE) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT once.publish_text('t', 'p')")
        cursor.execute("SELECT count(*) FROM once.event_2")
    source.drop()
    target.drop()


def test_P19_text_leaves_every_encoding_as_utf8(cluster, world_name):
    for encoding, accented in (("LATIN1", True), ("SQL_ASCII", False)):
        name = f"{world_name}_{encoding.lower()}"
        cluster.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding} LC_COLLATE 'C' LC_CTYPE 'C'")
        database = type(cluster.create_database(name + "_u"))(cluster, name)
        database.execute("CREATE EXTENSION pg_once")
        database.execute("SELECT once.set_lanes(2)")
        connection = database.connect()
        connection.set_client_encoding("UTF8")
        cursor = connection.cursor()
        for publish in ("publish_text('t', 'caf\u00e9'", "publish('t', '\"caf\u00e9\"'", "publish_event('t', '\"caf\u00e9\"'"):
            cursor.execute(f"SELECT once.{publish}, key => 'caf\u00e9', headers => '{{\"h\": \"caf\u00e9\"}}')")
        cursor.execute("SELECT once.publish_many_text('t', ARRAY['caf\u00e9'], ARRAY['caf\u00e9'])")
        cursor.execute("SELECT payload, once.headers_json(headers) ->> 'h', lane, key FROM ("
                       "SELECT 0 AS lane, * FROM once.event_0 UNION ALL SELECT 1, * FROM once.event_1) e ORDER BY seq")
        rows = cursor.fetchall()
        assert [bytes(row[0]).decode("utf-8").strip('"') for row in rows] == ["caf\u00e9"] * 4
        assert {bytes(row[3]).decode("utf-8") for row in rows} == {"caf\u00e9"}, "Kafka gets UTF-8"
        assert [row[1] for row in rows] == ["caf\u00e9"] * 3 + [None]
        with cluster.session(name + "_u") as other:
            other.execute("SELECT once.set_lanes(2)")
            other.execute("SELECT once.publish_text('t', 'p', key => 'caf\u00e9')")
            other.execute("SELECT count(*) FROM once.event_1")
            assert {row[2] for row in rows} == {other.fetchone()[0]}, "the lane follows from the key, not from the encoding"
        if not accented:
            for statement in ("SELECT once.publish_text('t', convert_from('\\xff', 'SQL_ASCII'))",
                              "SELECT once.publish_text('t', 'p', key => convert_from('\\xff', 'SQL_ASCII'))"):
                with pytest.raises(psycopg2.Error) as refused:
                    cursor.execute(statement)
                assert refused.value.pgcode == "22021", "bytes that are no UTF-8 could never be sent"
        connection.close()
        database.drop()
        cluster.execute(f"DROP DATABASE {name}_u WITH (FORCE)")
