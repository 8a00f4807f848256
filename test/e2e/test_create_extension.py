"""CREATE EXTENSION and what is made at run time, under settings and encodings that others choose; DROP EXTENSION; numbers over a crash."""
import contextlib
import json

import psycopg2
import pytest

from support.postgres import Cluster

SCRIPT_ENCODINGS = ["EUC_JP", "EUC_KR", "EUC_CN", "EUC_TW", "EUC_JIS_2004", "LATIN1", "LATIN9", "WIN1252", "KOI8R", "SQL_ASCII", "UTF8"]


@pytest.fixture
def bare(cluster, world_name):
    """A database without the extension; bare(ENCODING)."""
    made = []

    def make(encoding="UTF8"):
        name = f"{world_name}_{encoding.lower()}"
        cluster.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding} LC_COLLATE 'C' LC_CTYPE 'C'")
        made.append(name)
        return name
    yield make
    for name in made:
        cluster.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("encoding", SCRIPT_ENCODINGS)
def test_BE16_create_extension_in_every_encoding(cluster, bare, encoding):
    name = bare(encoding)
    with contextlib.closing(cluster.connect(name, client_encoding="SQL_ASCII" if encoding == "SQL_ASCII" else "UTF8")) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE EXTENSION pg_once")
        cursor.execute("SELECT description FROM pg_description WHERE objoid = 'once.scheduled'::regclass AND objsubid = 0")
        assert "once.publish(..., deliver_at)" in cursor.fetchone()[0], "comments are what they were written as"
        cursor.execute("SELECT once.publish('t', '{}', key => 'k'), once.accept('c', 'i')")


def test_BE16_create_extension_without_standard_conforming_strings(cluster, bare):
    name = bare()
    with cluster.session(name) as cursor:
        cursor.execute("SET standard_conforming_strings = off")
        cursor.execute("CREATE EXTENSION pg_once")
        cursor.execute("SELECT once.machine_set('m', %s, %s)", ('a"b\\c', json.dumps([{"from": 'a"b\\c', "event": "e", "to": "d"}])))
        cursor.execute("SELECT once.machine_graph('m', 'dot')")
        assert '"a\\"b\\\\c"' in cursor.fetchone()[0]


def test_BE14_relations_are_of_heap_in_the_databases_tablespace(cluster, bare):
    """The C code writes heap tuples; and a caller's tablespace is not his to fill."""
    name = bare()
    with cluster.session(name) as cursor:
        cursor.execute("CREATE ACCESS METHOD other_am TYPE TABLE HANDLER heap_tableam_handler")
        cursor.execute("SET default_table_access_method = other_am")
        cursor.execute("SET allow_in_place_tablespaces = on")
        cursor.execute(f"CREATE TABLESPACE {name}_reserved LOCATION ''")
        cursor.execute(f"SET default_tablespace = '{name}_reserved'")
        try:
            cursor.execute("CREATE EXTENSION pg_once")
            cursor.execute("SELECT once.set_lanes(2)")
            cursor.execute("SELECT once.consumer_set('c'), once.accept('d', 'i'), once.scope_set('s'), once.claim('t', 'k')")
            cursor.execute("SELECT c.oid::regclass::text FROM pg_class c LEFT JOIN pg_am m ON m.oid = c.relam "
                           "WHERE relnamespace = 'once'::regnamespace AND (reltablespace <> 0 OR m.amname = 'other_am')")
            assert cursor.fetchall() == []
            cursor.execute("CREATE TABLE mine (i int)")
            cursor.execute("SELECT reltablespace <> 0 FROM pg_class WHERE oid = 'mine'::regclass")
            assert cursor.fetchone()[0], "the caller's own settings still hold for him"
        finally:
            cursor.execute("DROP TABLE IF EXISTS mine; DROP EXTENSION pg_once CASCADE")
            cursor.execute("RESET default_tablespace")
            cursor.execute(f"DROP TABLESPACE {name}_reserved")


def refused(cursor, statement):
    try:
        cursor.execute(statement)
        return None
    except psycopg2.Error as error:
        return error.pgcode


def test_drop_schema_public_leaves_the_outbox(cluster, bare):
    """`prisma migrate reset` and many scripts begin with it."""
    with cluster.session(bare()) as cursor:
        cursor.execute("CREATE EXTENSION pg_once")
        cursor.execute("SELECT once.publish('t', '{}')")
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        cursor.execute("SELECT count(*) FROM once.event_0")
        assert cursor.fetchone() == (1,)
        cursor.execute("SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_once'")
        assert cursor.fetchone() == ("pg_catalog",)


DROPS = ["DROP EXTENSION pg_once", "DROP EXTENSION pg_once CASCADE", "DROP EXTENSION IF EXISTS pg_once, plpgsql CASCADE", "DROP EXTENSION plpgsql CASCADE",
         "DROP OWNED BY boss CASCADE", "DO 'BEGIN DROP EXTENSION pg_once; END'"]


@pytest.mark.parametrize("waiting", ["publish('t', '{}')", "publish('t', '{}', deliver_at => now() + interval '1 day')", "parked"])
def test_drop_extension_over_unshipped_events_is_refused(cluster, bare, waiting):
    name = bare()
    boss = f"{name}_boss"
    with cluster.session(name) as cursor:
        cursor.execute(f"CREATE ROLE {boss} SUPERUSER; SET ROLE {boss}; CREATE EXTENSION pg_once; RESET ROLE")
        if waiting == "parked":
            cursor.execute("SELECT once.publish('t', '{}'), once.park(0, 1, 'refused', 'skip')")
            cursor.execute("TRUNCATE once.event_0_0")
        else:
            cursor.execute(f"SELECT once.{waiting}")
        for statement in DROPS:
            assert refused(cursor, statement.replace("boss", boss)) == ("55006"), statement
        cursor.execute("SET session_replication_role = replica")
        assert refused(cursor, "DROP EXTENSION pg_once") == "55006", "restores and apply workers too"
        cursor.execute("RESET session_replication_role")
        cursor.execute("CREATE SCHEMA other; DROP SCHEMA other CASCADE; DROP EXTENSION IF EXISTS none")
    with cluster.session(name) as fresh:
        assert refused(fresh, "DROP EXTENSION pg_once") == "55006", "the library is not loaded yet"
        fresh.execute("SET once.drop_unshipped = on")
        fresh.execute("DROP EXTENSION pg_once; CREATE EXTENSION pg_once; DROP EXTENSION pg_once")
        fresh.execute("RESET once.drop_unshipped")
        fresh.execute("CREATE EXTENSION pg_once; DROP EXTENSION pg_once")  # nothing waits
        fresh.execute(f"DROP OWNED BY {boss}; DROP ROLE {boss}")


def test_BE19_the_largest_shape_of_lanes_on_a_default_server():
    with Cluster("max_connections = 100\nmax_locks_per_transaction = 64\n", name="default").create() as cluster:
        cluster.start()
        database = cluster.create_database("be19")
        for lanes, children in ((64, 8), (8, 64)):
            database.execute(f"SELECT once.set_lanes({lanes}, {children})")
            assert database.value("SELECT count(*) FROM once.status()") == lanes
        with cluster.session("be19") as cursor:
            assert refused(cursor, "SELECT once.set_lanes(64, 9)") == "22023"
            cursor.execute("DROP EXTENSION pg_once")


def test_BE8_numbers_are_never_given_twice_over_a_crash():
    """Our own drawing keeps the server's rules: logged ahead, logged again after a checkpoint."""
    with Cluster(name="numbers").create() as cluster:
        cluster.start()
        cluster.create_database("be8")
        given = set()
        draws = 0
        for turn in range(8):
            with cluster.session("be8") as cursor:
                for step in range(5):
                    cursor.execute("SELECT once.key_next('p') FROM generate_series(1, %s)", (1 + 17 * (turn + step) % 50,))
                    numbers = [number for (number,) in cursor.fetchall()]
                    cursor.execute("SELECT lower(b), upper(b) FROM once.key_block('p', %s) b", (1 + 7 * step,))
                    numbers += range(*cursor.fetchone())
                    cursor.execute("SELECT once.publish('t', '{}', key => g) FROM generate_series(1, 3) g")
                    assert not given & set(numbers) and min(numbers) > max(given, default=0)
                    given |= set(numbers)
                    draws += len(numbers)
                    if (turn + step) % 3 == 0:
                        cursor.execute("CHECKPOINT")
                    if (turn + step) % 4 == 1:
                        cursor.execute("SELECT once.key_next('p')")  # after a checkpoint, in a transaction of its own
                        given.add(cursor.fetchone()[0])
                        draws += 1
            cluster.kill()
            cluster.start()
        assert len(given) == draws
        with cluster.session("be8") as cursor:
            cursor.execute("SELECT count(*), count(DISTINCT seq), max(seq) FROM once.event_0")
            events, numbers, last = cursor.fetchone()
            assert events == numbers == 8 * 5 * 3
            cursor.execute("SELECT once.publish('t', '{}')")
            cursor.execute("SELECT max(seq) FROM once.event_0")
            assert cursor.fetchone()[0] > last


def test_US15_settings_of_the_server_are_set_as_the_manual_says():
    """ALTER SYSTEM knows a setting where the library is loaded; the databases' and the roles' settings need nothing."""
    with Cluster().create().start() as server:
        server.create_database("settings")

        def fresh(*statements):
            with server.session("settings") as sql:
                for statement in statements:
                    sql.execute(statement)
                return sql.fetchone()[0] if sql.description else None

        with server.session("settings") as sql:
            old = sql.connection.server_version < 170000
        if old:
            with pytest.raises(psycopg2.errors.UndefinedObject, match="unrecognized configuration parameter"):
                fresh("ALTER SYSTEM SET once.max_backlog = 1000")
        fresh("LOAD 'pg_once'", "ALTER SYSTEM SET once.max_backlog = 1000")
        fresh("ALTER DATABASE settings SET once.max_event_bytes = 500000")
        fresh("ALTER ROLE postgres SET once.strict_topics = on")
        fresh("SELECT pg_reload_conf()")
        used = "SELECT once.key_next('p')"  # loads the library
        assert fresh(used, "SHOW once.max_backlog") == "1000"
        assert fresh(used, "SHOW once.max_event_bytes") == "500000B"
        assert fresh(used, "SHOW once.strict_topics") == "on"
        with pytest.raises(psycopg2.errors.InvalidParameterValue, match="outside the valid range"):
            fresh("LOAD 'pg_once'", "ALTER SYSTEM SET once.max_event_bytes = 1")
