"""H17 for every function that a role may call: on a standby it works, or it says 25006. The catalog says which functions there
are, so that a new one cannot be forgotten; the primary says that the call itself is a good one."""
import psycopg2
import pytest

from support.postgres import Cluster, Database
from support.process import wait_until

TOKEN = "(SELECT token FROM mine)"
UUID = "'018f3a5e-8f00-7c3a-9a55-0242ac120002'::uuid"
MESSAGE = "ROW('t', 0, 1, 'k', '\\x01', NULL, 'i', NULL, NULL, NULL)::once.message"
ONE_MESSAGE = "'{t}', '{0}', '{1}', '{k}', '{x}', ARRAY[NULL]::jsonb[], '{i}', ARRAY[NULL], ARRAY[NULL]::bigint[], ARRAY[now()]"
# One call for each form of a function.
CALLS = {
    "accept": ["'c', 1::bigint", "'x', '\\x01'::bytea", "'t', 'a'::text", f"'u', {UUID}"],
    "accept_event": ["'c', '1'"], "accept_many": ["'c', '{1}'"], "accept_many_bigint": ["'c', '{1}'"], "accept_many_uuid": [f"'u', ARRAY[{UUID}]"],
    "accept_offset": ["'g', 't', 0, 0, 9"], "accept_position": ["'c', 's', 1"], "accept_positions": ["'c', 's', '{1}'"],
    "accept_window": ["'c', 's', 1"], "bump": ["'public.doc', '1', 1"], "checkpoint": [f"'s', 'k', {TOKEN}, '1'"], "claim": ["'s', 'k'"],
    "claim_bytes": ["'s', 'k', '\\x01'"], "complete": [f"'s', 'k', {TOKEN}"], "consumer_drop": ["'u'"], "consumer_grant": ["'c', 'public'"], "consumer_revoke": ["'c', 'postgres'"], "consumer_set": ["'c'"], "content_id": ["'s', '1'"],
    "cut": ["0"], "deliver_due": [""], "describe": ["'s', 'k'"], "fail": [f"'s', 'k', {TOKEN}, '1'"], "fingerprint": ["'1'"],
    "fingerprint_bytes": ["'\\x01'"], "ring_turn": ["'seen_week'"], "grant_admin": ["'postgres'"], "grant_consumer": ["'postgres'"],
    "grant_publisher": ["'postgres'"], "grant_relay": ["'postgres'"], "held_keys": ["0, 0"],
    "history_check": [f"0, {UUID}, 0::oid, 0, 1, '0/0', '1:1:', 0, {UUID}"], "identity": ["0"], "inbox_done": ["'t', '{a}'"],
    "inbox_fail": ["'t', 'a', 'e'"], "inbox_messages": [ONE_MESSAGE], "inbox_park": [f"'t', {MESSAGE}, 'e', 1"],
    "inbox_again": ["'t', 'a', 'e', 1"], "inbox_discard": ["'t', 'r', 'a'"], "inbox_put": ["'t', 'b', 'x'"], "inbox_redrive": ["'t'"], "inbox_store": [f"'t', {ONE_MESSAGE}"], "inbox_take": ["'t', 1"],
    "issue_token": ["'f', '1 h'"], "key_block": ["'p', 2"], "key_next": ["'p'"], "key_next_ordered": ["'p'"], "lane_holder": ["0"],
    "lane_lock": ["0"], "lane_try": ["0, false"], "lane_unlock": ["0"], "lease": ["'l', 'o', '1 h'"], "lease_assert": ["'l', 1"],
    "lease_release": ["'l', 1"], "lock": ["'a'"], "machine_graph": ["'order'"], "machine_history_set": ["'order', true"],
    "machine_set": ["'m', 'a', '[{\"from\": \"a\", \"event\": \"e\", \"to\": \"b\"}]'"], "memory_set": ["'token', '1 day'"], "memory_rows": [""],
    "missing_ids": [f"0, ARRAY[{UUID}]"], "offset_begin": ["'g', 't', 0, '{0}', '{0}'"], "offset_claim": ["'g', 't', 0"], "offset_claim_topic": ["'g', 't', 0, NULL"],
    "offset_forget": ["'g', 't'"], "park": ["0, 1, 'e', 'skip'"], "parked_seqs": ["0, 0"], "passed_over": ["0, '1:1:'"], "protocol": [""],
    **{f"publish{form}": [f"'t', '1', {key}" for key in ("'k'", "1", UUID, "'k'::bytea")] for form in ("", "_text", "_bytes")},
    "publish_event": ["'t', '1'"], "publish_many": ["'t', ARRAY['1']::jsonb[]"], "publish_many_text": ["'t', ARRAY['x']"],
    "publish_many_bytes": ["'t', ARRAY['x']::bytea[]"],
    "rearm": ["0, 'all'"], "redeem_token": [f"'f', {UUID}"], "redrive": ["'t', 'k'"], "redrive_all": [""],
    "redrive_next": ["0, 0, '1:1:', '1:1:', NULL, 10, 1000"], "redrive_refused": ["0, 1"], "redrive_stamped": ["0, 1"],
    "redrive_unstamp": [f"0, ARRAY[{UUID}]"], "release": [f"'s', 'k', {TOKEN}"], "renew": [f"'s', 'k', {TOKEN}, '1 s'"],
    "report": [f"0, (SELECT incarnation FROM once.lane WHERE lane = 0), 'cluster', '{{\"last_seq\": \"0\"}}', 0, '{{}}'"], "rotate": ["0"],
    "scope_grant": ["'s', 'postgres'"], "scope_revoke": ["'s', 'postgres'"], "scope_set": ["'s'"], "scope_drop": ["'s'"], "set_lanes": ["1"],
    "status": [""], "sweep": [""], "topic_drop": ["'t'"], "topic_set": ["'t'"], "transition": ["'order', '1', 'pay'"],
    "trim": ["0, '1:1:'"], "try_checkpoint": [f"'s', 'k', {TOKEN}, '1'"], "try_complete": [f"'s', 'k', {TOKEN}"],
    "try_fail": [f"'s', 'k', {TOKEN}, '1'"], "try_lock": ["'a'"], "try_release": [f"'s', 'k', {TOKEN}"],
    "try_renew": [f"'s', 'k', {TOKEN}, '1 s'"], "unschedule": [UUID], "wait": ["0, '1:1:', 1"],
}
# What only reads, and the lock of a lane: the relay takes it before it asks what server this is. Everything else is refused.
WORK = {"content_id", "describe", "fingerprint", "fingerprint_bytes", "machine_graph", "protocol", "identity", "history_check",
        "held_keys", "inbox_messages", "memory_rows", "missing_ids", "parked_seqs", "passed_over", "redrive_stamped", "status", "wait", "lane_holder", "lane_lock", "lane_try", "lane_unlock"}


def outcome(connection, call):
    """works, or the SQLSTATE; nothing stays."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"SELECT * FROM once.{call}")
            return "works"
        except psycopg2.Error as error:
            return error.pgcode
        finally:
            connection.rollback()


def every_call():
    return [f"{name}({arguments})" for name, calls in CALLS.items() for arguments in calls]


def forms(database):
    """Name and number of forms of every function that a role may call."""
    return dict(database.query("""
        SELECT p.proname, count(*) FROM pg_proc p WHERE p.pronamespace = 'once'::regnamespace AND p.prorettype <> 'trigger'::regtype
            AND (p.proname = 'grant_admin' OR p.proname IN (SELECT object FROM once.role_right WHERE privilege = 'EXECUTE')) GROUP BY 1"""))


def test_H17_every_function_works_on_a_standby_or_says_25006():
    with Cluster(name="primary").create() as primary, Cluster(name="standby") as standby:
        database = primary.start().create_database("h17")
        assert forms(database) == {name: len(calls) for name, calls in CALLS.items()}, "a function has no call here, or no longer exists"
        database.execute("""
            SELECT once.consumer_set('c'), once.consumer_set('u'),
                   once.scope_set('s'), once.topic_set('t'), once.lease('l', 'o', '1 h'), once.inbox_put('t', 'a', 'x'), once.publish_text('t', 'x'),
                   once.machine_set('order', 'new', '[{"from": "new", "event": "pay", "to": "paid"}]');
            CREATE TABLE doc (id int PRIMARY KEY, version bigint);
            INSERT INTO doc VALUES (1, 1);
            CREATE TABLE mine AS SELECT token FROM once.claim('s', 'k');""")
        session = database.connect(autocommit=False)
        refused = {call: code for call in every_call() if (code := outcome(session, call)) != "works"}
        assert refused == {"set_lanes(1)": "55000"}, "the primary refuses only what is for the time before the first use"
        standby.copy_of(primary).start()
        there = Database(standby, "h17")
        wait_until("the standby has it", lambda: there.value("SELECT count(*) FROM mine") == 1, 30)
        session = there.connect(autocommit=False)
        wrong = {call: code for call in every_call()
                 if (code := outcome(session, call)) != ("works" if call.split("(")[0] in WORK else "25006")}
        assert wrong == {}, f"{wrong}: neither refused by 25006 nor among those that work, or the other way round"
        assert there.value("SELECT state FROM once.describe('s', 'k')") == "in_progress"
        assert there.value("SELECT backlog FROM once.status()") == 1
        assert "new --> paid : pay" in there.value("SELECT once.machine_graph('order')")
        for same in ("content_id('s', '1')", "fingerprint('1')", "held_keys(0, 0)", "parked_seqs(0, 0)"):
            assert there.query(f"SELECT once.{same}") == database.query(f"SELECT once.{same}")


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_H17_a_read_only_transaction_is_as_a_standby(cluster, world_name, level):
    """On the primary: what a standby refuses, a read-only transaction refuses, but for locks, which write nothing."""
    database = cluster.create_database(world_name)
    try:
        database.execute("""SELECT once.scope_set('s'), once.consumer_set('c'), once.machine_set('order', 'new', '[{"from": "new", "event": "pay", "to": "paid"}]');
                            CREATE TABLE mine AS SELECT token FROM once.claim('s', 'k')""")
        session = database.connect(autocommit=False)
        session.set_session(isolation_level=level, readonly=True)
        for name in ("accept", "claim", "claim_bytes", "complete", "try_complete", "fail", "release", "renew", "checkpoint", "publish",
                     "publish_many", "transition", "key_next", "key_block", "key_next_ordered", "issue_token", "redeem_token",
                     "lease", "lease_release", "machine_set", "scope_set", "memory_set"):
            assert outcome(session, f"{name}({CALLS[name][0]})") == "25006", name
        for name in ("describe", "content_id", "fingerprint", "machine_graph", "lock", "try_lock"):
            assert outcome(session, f"{name}({CALLS[name][0]})") == "works", name
    finally:
        database.drop()
