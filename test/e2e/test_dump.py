"""H20: what pg_dump carries into another database, and that what it leaves behind is not missed."""
import subprocess

import pytest

from support.process import STAGED_BIN

# Made anew in every database: identity, what means something to this server or this cluster of Kafka alone, and where events lie.
NEVER = {"lane", "relay_report", "offset_fence", "dead_letter", "event_0_0", "event_1_0"}
# Of the install script, the same everywhere.
INSTALLED = {"role_right", "slot"}


@pytest.fixture
def database(cluster, world_name):
    made = cluster.create_database(world_name)
    yield made
    made.drop()


@pytest.fixture
def restored(cluster, world_name):
    """restored(database, …): a dump of it with these options, in a database of another name."""
    made = []

    def restore(database, *options, refused=""):
        copy = cluster.create_database(f"{world_name}_copy{len(made)}", extension=False)
        made.append(copy)
        dump = subprocess.run([STAGED_BIN / "pg_dump", *options, "-d", database.dsn("postgres")], check=True, stdout=subprocess.PIPE).stdout
        done = subprocess.run([STAGED_BIN / "psql", "-Xq", "-v", f"ON_ERROR_STOP={int(not refused)}", "-d", copy.dsn("postgres")], input=dump,
                              check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        errors = done.stderr.decode().splitlines()
        assert done.returncode == 0 and all(refused and refused in error for error in errors), errors
        return copy

    yield restore
    for each in made:
        each.drop()


def fill(database, lanes=2):
    """Something in every table."""
    database.execute("SELECT once.accept('c', 0); SELECT once.sweep(); SELECT once.ring_turn('seen_week')")
    for _ in range(2):
        database.execute("SELECT once.sweep()")
    database.execute("""
        SELECT once.set_lanes(%s);
        SELECT once.topic_set('t', max_bytes => 1000), once.consumer_set('c', keep => '3 days'), once.memory_set('token', '2 days'),
               once.machine_set('order', 'new', '[{"from": "new", "event": "pay", "to": "paid"}]'), once.machine_history_set('order', true),
               once.scope_set('declared', keep => '3 h');
        SELECT once.scope_grant('declared', 'postgres');
        SELECT once.accept('c', 1::bigint), once.accept_position('c', 's', 7), once.accept_window('c', 's', 7), once.inbox_put('w', 'i', 'x');
        SELECT once.consumer_set('old', reject_older => true); SELECT once.accept('old', 1, now() + interval '1 h');
        SELECT once.offset_claim('g', 't', 0); SELECT once.accept_offset('g', 't', 0, 0, 9); SELECT once.offset_claim_topic('g', 'u', 0, 'id');
        SELECT once.complete('declared', 'k', token, '"kept"') FROM once.claim('declared', 'k');
        SELECT once.complete('common', 'k', token, '"kept"') FROM once.claim('common', 'k');
        SELECT once.transition('order', '1', 'pay', 'e'), once.lease('l', 'w', '1 h'), once.issue_token('f', '1 h'), once.key_block('p', 100),
               once.publish_text('t', 'x', dedup_key => 'd'), once.publish_text('t', 'x', deliver_at => now() + interval '1 h');
        SELECT once.publish_text('t', 'x', 'k' || n) FROM generate_series(1, 9) n;
        SELECT once.report(0, incarnation, 'cluster', '{"last_seq": "0"}', 7, '{}') FROM once.lane WHERE lane = 0;
        SELECT once.park(0, (SELECT min(seq) FROM once.event_0), 'refused', 'skip')""", (lanes,))


def contents(database):
    """A digest of each table of the schema that has rows."""
    tables = [name for name, in database.query("SELECT relname FROM pg_class WHERE relnamespace = 'once'::regnamespace AND relkind = 'r' ORDER BY 1")]
    digests = {name: database.value(f'SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM once."{name}" t')
               for name in tables}
    return tables, {name: digest for name, digest in digests.items() if digest}


def test_H20_a_dump_carries_settings_and_keys_and_never_an_identity(database, restored):
    fill(database)
    tables, before = contents(database)
    spare = {name for name in tables if name.startswith(("seen_", "ahead_", "claim_", "token_", "machine_event_", "publish_key_", "event_"))}
    assert not set(tables) - set(before) - spare, "nothing stands in them, so nothing is tried"
    copy = restored(database)
    _, after = contents(copy)
    kept = {name for name, digest in before.items() if after.get(name) == digest}
    assert set(before) - kept == NEVER & set(before) and INSTALLED < kept, "kept or not, by table"
    assert NEVER - {"event_1_0"} <= set(before)
    assert copy.value("SELECT count(*) FROM once.lane") == 2, "as many lanes, of the same shape"
    assert not copy.query("SELECT incarnation FROM once.lane") == database.query("SELECT incarnation FROM once.lane")
    assert copy.query("SELECT armed, cluster_id, mode FROM once.lane") == [(False, None, None)] * 2
    for gone in ("relay_report", "offset_fence", "dead_letter", "event_0", "event_1"):
        assert copy.value(f"SELECT count(*) FROM once.{gone} WHERE {'position IS NOT NULL' if gone == 'relay_report' else 'true'}") == 0, gone
    assert copy.value("SELECT once.accept('c', 1::bigint)") == "duplicate"
    assert copy.query("SELECT verdict, response FROM once.claim('declared', 'k')") == [("replay", "kept")]
    assert copy.query("SELECT verdict, response FROM once.claim('common', 'k')") == [("replay", "kept")]
    assert copy.value("SELECT verdict FROM once.transition('order', '1', 'pay', 'e')") == "duplicate"
    assert copy.value("SELECT once.key_next('p')") > 100
    again = restored(copy)
    assert contents(again)[1].keys() == after.keys(), "a dump of the copy is the same"


def test_H20_a_dump_without_rows_gives_a_database_that_works(database, restored):
    """pg_dump --schema-only, as staging databases are made."""
    fill(database, lanes=1)
    copy = restored(database, "--schema-only")
    _, there = contents(copy)
    assert there.keys() == {"lane", *INSTALLED}, "what the install script makes, and nothing else"
    assert copy.query("SELECT name FROM once.scope") == []
    assert copy.value("SELECT once.accept('billing', 'a'::text)") == "new"
    assert copy.value("SELECT once.accept('billing', 'a'::text)") == "duplicate"
    assert copy.value("SELECT once.accept('c', 1::bigint)") == "new"
    copy.execute("SELECT once.scope_set('other', keep => '1 h'), once.scope_set('declared')")
    for scope in ("declared", "other", "common"):
        assert copy.value("SELECT verdict FROM once.claim(%s, 'k')", (scope,)) == "new"
        assert copy.value("SELECT verdict FROM once.claim(%s, 'k')", (scope,)) == "in_progress"
    copy.execute("SELECT once.publish_text('t', 'x'), once.topic_set('t'), once.sweep()")
    assert restored(copy).value("SELECT once.accept('c', 1::bigint)") == "duplicate", "a dump of the copy is a whole one"


def test_H20_a_dump_without_rows_of_several_lanes_lacks_their_rights(database, restored):
    """The lanes are made by a row: without it the rights on those above 0 name nothing. The rest is restored, and given again they are there."""
    fill(database)
    copy = restored(database, "--schema-only", refused='relation "once.event_1')
    assert copy.value("SELECT count(*) FROM once.lane") == 1
    copy.execute("SELECT once.set_lanes(2), once.grant_relay('relay')")
    assert copy.value("SELECT has_table_privilege('relay', 'once.event_1', 'SELECT')")
