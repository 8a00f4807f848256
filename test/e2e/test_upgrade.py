"""Upgrades, before there is one: a release that does not exist (sql/upgrade/dummy) is updated to, on a server of its own. Whatever the
order of library and script, sessions that are open go on or hear one clear error, a running relay ships on, and an installed version is
what an updated one is."""
import os
import shutil
import subprocess

import psycopg2
import pytest

from support.postgres import Cluster
from support.process import TOP, server_user, temporary_folder, wait_until
from support.world import World

DUMMY = "99.0.0"
OLD, NEW = "build/pg_once.so", "build/dummy/pg_once.so"
# Everything that the extension consists of, in words that do not depend on oids or on the history.
CATALOG = r"""
WITH member AS (SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
    AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_once')),
rel AS (SELECT c.* FROM pg_class c WHERE relnamespace = 'once'::regnamespace)
SELECT 'member ' || pg_describe_object(classid, objid, 0) FROM member
UNION ALL SELECT 'comment ' || pg_describe_object(classoid, objoid, objsubid) || ': ' || d.description
    FROM pg_description d LEFT JOIN member m ON m.classid = classoid AND m.objid = objoid
    WHERE m.objid IS NOT NULL OR classoid = 'pg_class'::regclass AND objoid IN (SELECT oid FROM rel)
       OR classoid = 'pg_trigger'::regclass AND objoid IN (SELECT oid FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM rel))
UNION ALL SELECT format('column %s.%s at %s: %s, null %s, default %s, collation %s, storage %s, identity %s', attrelid::regclass, attname, attnum,
        format_type(atttypid, atttypmod), NOT attnotnull, pg_get_expr(adbin, adrelid), attcollation::regcollation, attstorage, attidentity)
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid IN (SELECT oid FROM rel) AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT format('relation %s: %s, %s, %s, rights %s', oid::regclass, relkind, relpersistence, reloptions,
        (SELECT array_agg(a::text ORDER BY a::text COLLATE "C") FROM unnest(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) a)) FROM rel WHERE relkind <> 'i'
UNION ALL SELECT 'index ' || pg_get_indexdef(oid) FROM rel WHERE relkind = 'i'
UNION ALL SELECT format('constraint %s on %s: %s', conname, conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 'once'::regnamespace
UNION ALL SELECT 'view ' || oid::regclass || ': ' || pg_get_viewdef(oid) FROM rel WHERE relkind = 'v'
UNION ALL SELECT format('trigger %s, enabled %s', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM rel) AND NOT tgisinternal
UNION ALL SELECT pg_get_functiondef(oid) || (SELECT array_agg(a::text ORDER BY a::text COLLATE "C")::text FROM unnest(coalesce(proacl, acldefault('f', proowner))) a)
    FROM pg_proc WHERE pronamespace = 'once'::regnamespace
UNION ALL SELECT format('type %s: %s %s', oid::regtype, typtype, (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid))
    || (SELECT array_agg(a::text ORDER BY a::text COLLATE "C")::text FROM unnest(coalesce(typacl, acldefault('T', typowner))) a)
    FROM pg_type t WHERE typnamespace = 'once'::regnamespace
UNION ALL SELECT format('depends %s on %s %s', pg_describe_object(classid, objid, objsubid), pg_describe_object(refclassid, refobjid, refobjsubid), deptype)
    FROM pg_depend WHERE (classid, objid) IN (SELECT * FROM member) AND deptype <> 'e'
UNION ALL SELECT format('right %s', r) FROM once.role_right r
UNION ALL SELECT format('dumped %s %s', unnest(extconfig)::regclass, unnest(extcondition)) FROM pg_extension WHERE extname = 'pg_once'
ORDER BY 1
"""


def catalog(database):
    return [line for (line,) in database.query(CATALOG)]


@pytest.fixture(scope="module")
def stage():
    """A private server whose library and scripts can be exchanged."""
    subprocess.run(["make", "-s", "dummy"], cwd=TOP, check=True)
    return Stage(temporary_folder("stage", server_user()))


class Stage:
    def __init__(self, folder):
        config = os.environ.get("PG_CONFIG", "pg_config")
        subprocess.run([TOP / "test/support/stage.sh", config, folder], cwd=TOP, check=True)

        def where(what):
            return folder / subprocess.check_output([config, what], text=True).strip().lstrip("/")
        self.programs, self.library, self.scripts = where("--bindir"), where("--pkglibdir"), where("--sharedir") / "extension"
        for script in [*(TOP / "build/sql").glob("pg_once--*.sql"), TOP / "extension/pg_once.control", *(TOP / "build/dummy").glob("*.sql")]:
            shutil.copy(script, self.scripts)
        self.install(OLD)

    def install(self, library):
        """As `make install` does it: another file in its place, so that sessions keep the one they loaded."""
        target = self.library / "pg_once.so"
        target.unlink(missing_ok=True)
        shutil.copy(TOP / library, target)


@pytest.fixture(scope="module")
def server(stage):
    with Cluster(name="upgrade", programs=stage.programs).create() as running:
        yield running.start()


@pytest.fixture
def database(server, stage, world_name):
    stage.install(OLD)
    made = server.create_database(world_name)
    made.execute("CREATE ROLE pub_%s; SELECT once.grant_publisher('pub_%s')" % (world_name, world_name))
    made.execute("""SELECT once.machine_set('m', 'a', '[{"from": "a", "event": "go", "to": "b"}]')""")
    yield made
    made.execute("DROP OWNED BY pub_%s; DROP ROLE pub_%s" % (world_name, world_name))
    made.drop()


def call_all(cursor):
    """Something of every family, with its answer."""
    cursor.execute("""SELECT once.accept('c', 7::bigint), once.accept_position('c', 's', 5), once.accept_window('c', 's', 5), once.lease('l', 'o', '1 h') IS NULL,
        (once.claim('s', 'k')).verdict, once.publish('t', '1'::jsonb, dedup_key => 'k') IS NULL, (once.accept_offset('g', 't', 0, 0, 1)).verdict,
        (SELECT count(*) FROM once.accept_many_bigint('m', array(SELECT g::bigint FROM generate_series(1, 50) g)) WHERE verdict = 'new'),
        (once.transition('m', 'e', 'go')).verdict, once.inbox_put('w', 'i', 'x')""")
    return cursor.fetchone()


def refused(cursor, statement):
    with pytest.raises(psycopg2.Error) as raised:
        cursor.execute(statement)
    return raised.value


FIRST = ("new", "new", "new", False, "new", False, "new", 50, "moved", "new")
AGAIN = ("duplicate", "duplicate", "duplicate", False, "in_progress", False, "duplicate", 0, "late", "duplicate")


def test_an_update_gives_what_an_installation_gives(server, stage, database):
    stage.install(NEW)
    fresh = server.create_database(f"{database.name}_fresh", extension=False)
    fresh.execute(f"CREATE EXTENSION pg_once VERSION '{DUMMY}'")
    grantees = f"SELECT once.grant_relay('relay'), once.grant_publisher('pub_{database.name}')"
    fresh.execute(grantees)
    database.execute(f"ALTER EXTENSION pg_once UPDATE TO '{DUMMY}'")
    installed, updated = catalog(fresh), catalog(database)
    fresh.drop()
    assert len(installed) > 1000
    assert sorted(set(installed) ^ set(updated)) == []
    assert installed == updated
    assert "column once.topic.dummy" in "\n".join(updated)


def test_BE14_an_update_makes_tables_of_heap_in_the_databases_tablespace(stage, database):
    stage.install(NEW)
    with database.session() as cursor:
        cursor.execute("CREATE ACCESS METHOD other_am TYPE TABLE HANDLER heap_tableam_handler")
        cursor.execute("SET default_table_access_method = other_am")
        cursor.execute("SET allow_in_place_tablespaces = on")
        cursor.execute(f"CREATE TABLESPACE {database.name}_reserved LOCATION ''")
        cursor.execute(f"SET default_tablespace = '{database.name}_reserved'")
        cursor.execute(f"ALTER EXTENSION pg_once UPDATE TO '{DUMMY}'")
        cursor.execute("SELECT c.oid::regclass::text FROM pg_class c LEFT JOIN pg_am m ON m.oid = c.relam "
                       "WHERE relnamespace = 'once'::regnamespace AND (reltablespace <> 0 OR m.amname = 'other_am')")
        others = cursor.fetchall()
        cursor.execute("DROP EXTENSION pg_once CASCADE")
        cursor.execute(f"DROP TABLESPACE {database.name}_reserved")
    assert others == []


def test_an_update_that_is_rolled_back_leaves_nothing(server, stage, database):
    before = catalog(database)
    stage.install(NEW)
    with database.session(autocommit=False) as other, database.session() as old:
        call_all(other)
        other.connection.rollback()
        other.execute(f"ALTER EXTENSION pg_once UPDATE TO '{DUMMY}'")
        call_all(other)
        other.connection.rollback()
        assert catalog(database) == before
        assert call_all(old) == FIRST
        assert call_all(other) == AGAIN


def test_the_library_first(server, stage, database):
    """The normal order: `make install`, then ALTER EXTENSION in each database. Sessions of the old library go on under the new script."""
    with database.session() as old:
        assert call_all(old) == FIRST
        stage.install(NEW)
        with database.session() as new:
            assert call_all(new) == AGAIN, "the new library under the old script"
            error = refused(old, f"ALTER EXTENSION pg_once UPDATE TO '{DUMMY}'")
            assert error.pgcode == "55000" and "new session" in error.diag.message_hint
            new.execute(f"ALTER EXTENSION pg_once UPDATE TO '{DUMMY}'")
            assert call_all(old) == call_all(new) == AGAIN, "both libraries under the new script"
            old.execute("SELECT once.publish('t', '1'::jsonb), once.accept('c', 8::bigint)")
            new.execute("SELECT topic, dummy FROM once.event_0_0 ORDER BY seq")
            assert new.fetchall() == [("t", None)] * 2
            new.execute("SELECT once.dummy()")
            assert refused(old, "SELECT once.dummy()").pgcode == "42883"


def test_the_script_first(server, stage, database):
    before = catalog(database)
    with database.session() as session:
        error = refused(session, f"ALTER EXTENSION pg_once UPDATE TO '{DUMMY}'")
        assert error.pgcode == "55000" and "library" in error.diag.message_primary and error.diag.message_hint
        assert catalog(database) == before
        session.execute("SELECT once.publish('t', '1'::jsonb)")
    fresh = server.create_database(f"{database.name}_fresh", extension=False)
    with fresh.session() as session:
        assert refused(session, f"CREATE EXTENSION pg_once VERSION '{DUMMY}'").pgcode == "55000"
    fresh.drop()


def test_0_1_is_told_that_there_is_no_way(database):
    database.execute("UPDATE pg_extension SET extversion = '0.1.0' WHERE extname = 'pg_once'")
    with database.session() as session:
        error = refused(session, "ALTER EXTENSION pg_once UPDATE")
    assert error.pgcode == "0A000" and "CREATE EXTENSION" in error.diag.message_hint


def test_rights_after_an_update(server, stage, database):
    """Who had a kind has what is new of it; who had lost a part of it has not; what a person granted stays."""
    names = [f"{kind}_{database.name}" for kind in ("less", "hand", "again")]
    less, hand, again = names
    for name in names:
        database.execute(f'CREATE ROLE "{name}"')
    database.execute(f"""SELECT once.grant_publisher('{less}'), once.grant_admin('{again}');
        REVOKE EXECUTE ON FUNCTION once.topic_drop(text) FROM {again}; REVOKE ALL ON ALL FUNCTIONS IN SCHEMA once FROM {less};
        GRANT SELECT ON once.inbox TO {hand}""")
    stage.install(NEW)
    database.execute(f"ALTER EXTENSION pg_once UPDATE TO '{DUMMY}'")
    may = dict(database.query("SELECT r, has_function_privilege(r, 'once.dummy()', 'EXECUTE') FROM unnest(%s) r", ([*names, f"pub_{database.name}"],)))
    assert may == {less: False, hand: False, again: False, f"pub_{database.name}": True}
    assert database.value("SELECT has_table_privilege(%s, 'once.inbox', 'SELECT') AND NOT has_table_privilege(%s, 'once.dummies', 'SELECT')", (hand, again))
    for name in names:
        database.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


def test_an_update_under_load(server, kafka, stage, world_name):
    """Publishers and the relay go on in sessions of the old library; each event arrives once, in order."""
    stage.install(OLD)
    world = World(server, kafka, world_name)
    try:
        work = world.writers(seed=11).start(threads=3, pause=0.005)
        relay = world.relay().start()
        relay.wait_state("running")
        for version, library in (("0", NEW), (DUMMY, NEW)):
            wait_until("events are shipped", lambda: (relay.metric("once_outbox_events_total") or 0) > 20, 30)
            stage.install(library)
            if version != "0":
                world.database.execute(f"SET lock_timeout = '20s'; ALTER EXTENSION pg_once UPDATE TO '{version}'")
        shipped = relay.metric("once_outbox_events_total")
        wait_until("events are shipped under the new script", lambda: relay.metric("once_outbox_events_total") > shipped + 50, 30)
        assert relay.starts == 1 and relay.alive()
        work.stop()
        assert relay.stop() == 0
        world.relay().drain()
        world.assert_exact()
    finally:
        world.close()
