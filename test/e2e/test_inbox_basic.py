"""once-relay inbox on its straight path: bytes, identities, dedup, store, start offsets, refusals."""
import hashlib
import json

import pytest

from support.inbox import Inbox, message


@pytest.fixture
def inbox(cluster, kafka, world_name):
    made = []

    def make(**entry):
        made.append(Inbox(cluster, kafka, f"{world_name}{len(made) or ''}", **entry).__enter__())
        return made[-1]
    yield make
    for each in made:
        each.__exit__()


def effects(inbox, columns="payload"):
    return inbox.database.query(f"SELECT {columns} FROM app.effect ORDER BY nr")


def test_I13_each_message_once_in_order_per_key(inbox):
    box = inbox()
    box.send_numbered(3000)
    relay = box.relay()
    relay.drain()
    box.assert_exact(3000)
    box.send_numbered(500, first=3000)
    relay.drain()
    box.assert_exact(3500)
    committed = box.kafka.tools.run("group_offsets", group=box.entry["group"])
    stored = dict(box.database.query("SELECT topic || '/' || partition, next FROM once.consumer_offset"))
    assert {place: offset for place, (offset, _) in committed.items()} == stored, "advice to lag tools"


def test_P19_message_is_byte_exact(inbox):
    box = inbox(partitions=1)
    every = bytes(range(256))
    source = "0199c1a0-5c3e-4bbb-8123-0123456789ab/0"
    box.send([
        message(every, key="plain", source=source, position=7,
                headers=[("a", "1"), ("b", None), ("a", "zwei ä"), ("bin", b"\xff\x00")]),
        message(None, key="tombstone"),
        message(b"", key=None),
        message("x" * 900_000, key="größe 😀"),
        message("binary key", key=b"\xff\xfe"),
        message("foreign", key="f", identity=None),
        message("named", key="n", identity="not a uuid"),
    ])
    box.relay().drain()
    rows = effects(box, "topic, partition, log_offset, key, payload, headers, id, source, pos, sent_at IS NOT NULL")
    assert [row[2] for row in rows] == list(range(7))
    assert [row[3] for row in rows] == ["plain", "tombstone", None, "größe 😀", "\\xfffe", "f", "n"]
    payloads = [None if row[4] is None else bytes(row[4]) for row in rows]
    assert payloads == [every, None, b"", b"x" * 900_000, b"binary key", b"foreign", b"named"]
    assert rows[0][5] == {"a": ["1", "zwei ä"], "b": None, "bin": {"$bytes": "ff00"}} and rows[1][5] is None
    assert rows[0][7:9] == (f"{source}/{box.topic}/0", 7)
    assert rows[5][6:9] == (f"{box.topic}/0/5", f"{box.topic}/0", 5)
    assert rows[6][6] == "not a uuid" and all(row[9] for row in rows)


def test_US2_headers_that_a_stream_processor_copied_are_no_ids(world, inbox):
    """A processor copies the headers of what it reads to all that it writes: three lines of one order are three messages."""
    orders = next(iter(world.topics))
    identity = world.publish(orders, "order", key="k")
    world.relay().drain()
    (order,) = world.messages(orders)
    assert dict(order.headers)["once-topic"] == orders.encode()
    box = inbox(partitions=1)
    copied = [(name, value) for name, value in order.headers]
    box.send(message(f"line {n}", key="k", identity=None, headers=copied) for n in range(3))
    box.relay().drain()
    rows = effects(box, "payload, id, source, pos, headers")
    assert [bytes(row[0]) for row in rows] == [b"line 0", b"line 1", b"line 2"]
    assert [row[1:] for row in rows] == [(f"{box.topic}/0/{n}", f"{box.topic}/0", n, None) for n in range(3)]
    assert identity == dict(order.headers)["once-id"].decode()


def test_E1_duplicate_ids_of_senders_act_once(inbox):
    box = inbox()
    ids = [f"0199c1a0-5c3e-7bbb-8123-{n:012x}" for n in range(400)]
    box.send(message(f"first {n}", key=f"k{n}", identity=i) for n, i in enumerate(ids))
    again = [message(f"again {n}", key=f"other{n}", identity=i) for n, i in enumerate(ids)]
    box.kafka.tools.run("produce_many", topic=box.topic, messages=again)
    relay = box.relay()
    relay.drain()
    # Partitions are read side by side: which of the two came first is not said, only that one acted.
    assert box.database.query("SELECT count(*), count(DISTINCT id) FROM app.effect") == [(400, 400)]
    box.assert_history()
    box.kafka.tools.run("produce_many", topic=box.topic, messages=again[:50])
    relay.drain()
    assert box.applied() == 400


def test_F9_aborted_transactions_and_markers_leave_no_gap(inbox):
    box = inbox(partitions=1)
    for n in range(5):
        box.kafka.tools.run("transaction", transactional_id=f"{box.name}-{n}", topic=box.topic, key="aw==",
                            value=message(str(n))["value"])
    box.kafka.tools.run("transaction", transactional_id=f"{box.name}-x", topic=box.topic, key="aw==",
                        value=message("never")["value"], open=True)
    box.kafka.tools.run("transaction", transactional_id=f"{box.name}-x")  # fences, so aborts it
    box.send([message("last", key="k")])
    relay = box.relay()
    relay.drain()
    assert [bytes(row[0]) for row in effects(box)] == [b"0", b"1", b"2", b"3", b"4", b"last"]


def test_E1_id_from_header_or_payload(inbox):
    box = inbox(id_header="event-id")
    box.send([message("a", headers=[("event-id", "1")]), message("b", headers=[("event-id", "1")])])
    box.relay().drain()
    assert box.applied() == 1
    other = inbox(id_path="/meta/id")
    other.send([message(json.dumps({"meta": {"id": n % 3}, "n": n}), identity=None) for n in range(9)])
    other.relay().drain()
    assert other.database.query("SELECT id FROM app.effect ORDER BY id") == [("0",), ("1",), ("2",)]


def test_E10_store_leaves_rows_for_workers(inbox):
    box = inbox(store=True)
    box.send_numbered(2000)
    box.relay().drain()
    database = box.database
    assert database.value("SELECT count(*) FROM once.inbox WHERE state = 'ready'") == 2000
    assert database.value("SELECT bool_and(source IS NOT NULL AND pos IS NOT NULL AND sent_at IS NOT NULL) FROM once.inbox")
    assert database.query("SELECT partition FROM (SELECT partition, log_offset, lag(log_offset) OVER "
                          "(PARTITION BY partition ORDER BY seq) AS before FROM once.inbox) o "
                          "WHERE before >= log_offset") == [], "order of arrival is the order of the partition"
    taken = database.query("SELECT once.inbox_done('billing', array_agg(id)) FROM once.inbox_take('billing', 500)")
    assert taken == [(500,)]
    box.kafka.tools.run("produce_many", topic=box.topic, messages=box.sent)  # all again: their ids are known
    box.relay().drain()
    assert database.value("SELECT count(*) FROM once.inbox") == 1500


@pytest.mark.parametrize("store", [True, False])
def test_E10_what_no_column_takes_stops_nobody(inbox, store):
    """A key longer than an index entry, and an id that is JSON and no text: kept like any other, also when the handler fails."""
    box = inbox(store=store, id_path="/id", max_attempts=1, partitions=1)
    box.database.execute("SELECT once.consumer_set('billing')")
    long_key = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(200))
    box.database.execute("ALTER TABLE app.bad DROP CONSTRAINT bad_pkey")  # no entry of this index could hold the key either
    box.database.execute("INSERT INTO app.bad SELECT '\\x' || encode(%s, 'hex') UNION SELECT 'nul'", (long_key,))
    box.send([message("first", key="a"), message("long", key=long_key), message('{"id": "a\\u0000b"}', key="nul", identity=None),
              message("last", key="a")])
    box.relay().drain()
    kept = box.database.query("SELECT convert_from(payload, 'UTF8'), key FROM once.inbox ORDER BY seq")
    bad = [("long", f"\\x{long_key.hex()}"), ('{"id": "a\\u0000b"}', "nul")]
    assert kept == ([("first", "a"), *bad, ("last", "a")] if store else bad)
    if not store:
        assert [bytes(row[0]) for row in effects(box)] == [b"first", b"last"]
        box.database.execute("DELETE FROM app.bad")
        box.database.execute("SELECT once.inbox_redrive('billing')")
        box.relay().drain()
        assert box.applied() == 4


def test_E10_store_serves_a_trigger_and_a_row_that_waits_already(inbox):
    """What only INSERT serves is left to it; an id that the memory forgot and that still waits is no second row."""
    box = inbox(store=True, partitions=1)
    box.send_numbered(300)
    box.relay().drain()
    box.database.execute("TRUNCATE once.seen_week_0")
    box.database.execute("DELETE FROM once.inbox WHERE seq % 2 = 0")
    box.kafka.tools.run("produce_many", topic=box.topic, messages=box.sent)
    box.relay().drain()
    assert box.database.query("SELECT count(*), count(DISTINCT payload) FROM once.inbox") == [(300, 300)]
    box.database.execute("CREATE TABLE app.seen (id text); GRANT ALL ON app.seen TO PUBLIC;"
                         "CREATE FUNCTION app.see() RETURNS trigger LANGUAGE plpgsql AS "
                         "'BEGIN INSERT INTO app.seen VALUES (NEW.id); RETURN NEW; END';"
                         "CREATE TRIGGER see AFTER INSERT ON once.inbox FOR EACH ROW EXECUTE FUNCTION app.see()")
    box.send_numbered(200, first=300)
    box.relay().drain()
    assert box.database.value("SELECT count(DISTINCT id) FROM app.seen") == 200


def test_E1_handler_per_message(inbox):
    box = inbox(handler="app.apply_one", per_message=True)
    box.send_numbered(300)
    box.relay().drain()
    box.assert_exact(300)


def test_F10_several_topics_by_pattern_and_members(inbox, kafka):
    box = inbox(members=2)
    box.entry["topic"] = f"^{box.topic}.*"
    kafka.create_topic(box.topic + ".more", 3)
    box.send_numbered(500)
    box.send((message(f"more {n}", key=f"k{n}") for n in range(500)), topic=box.topic + ".more")
    box.relay().drain()
    box.assert_exact(1000)


@pytest.mark.parametrize("start,expected", [("earliest", 10), ("latest", 0)])
def test_F10_new_group_begins_where_it_is_told(inbox, start, expected):
    box = inbox(start=start)
    box.send_numbered(10)
    relay = box.relay()
    relay.drain()
    assert box.applied() == expected
    assert box.database.value("SELECT count(*) FROM once.consumer_offset WHERE next IS NOT NULL") == box.partitions
    box.send_numbered(5, first=10)
    relay.drain()
    assert box.applied() == expected + 5


@pytest.mark.parametrize("advice", [0, 5, 30])
def test_F10_only_the_database_says_where_to_go_on(inbox, kafka, advice):
    """What Kafka has is advice: behind, it would act twice, ahead, it would pass over what was not applied."""
    box = inbox(partitions=1)
    box.send_numbered(10)
    relay = box.relay()
    relay.drain()
    box.send_numbered(20, first=10)
    kafka.tools.run("set_group_offset", group=box.entry["group"], topic=box.topic, partition=0, offset=advice, note="once-relay")
    relay.drain()
    box.assert_exact(30)


def test_F7_a_group_that_expired_goes_on(inbox, kafka):
    """Kafka forgets an idle group: its generations start again, its offsets are gone. Fences are the database's."""
    box = inbox(partitions=2)
    relay = box.relay()
    for part in range(3):  # each start is another generation
        box.send_numbered(10, first=10 * part)
        relay.drain()
    fences = box.database.query("SELECT partition, fence FROM once.offset_fence ORDER BY 1")
    kafka.tools.run("delete_group", group=box.entry["group"])
    box.send_numbered(10, first=30)
    relay.drain()
    box.assert_exact(40)
    box.assert_history()
    after = box.database.query("SELECT partition, fence FROM once.offset_fence ORDER BY 1")
    assert all(new > old for (_, old), (_, new) in zip(fences, after))


@pytest.mark.parametrize("store", [True, False])
def test_I15_messages_of_five_megabytes(inbox, store):
    """Larger than a fetch, and than a transaction wants to be: each is one, with its neighbours, byte for byte."""
    box = inbox(partitions=1, store=store, max_bytes=1_000_000, topic_settings={"max_message_bytes": 6_000_000})
    large = [bytes([n]) * 5_000_000 for n in (1, 2)]
    box.send([message("before", key="a"), message(large[0], key="a"), message("between", key="a"), message(large[1]), message("behind", key="a")])
    box.relay().drain()
    table = "once.inbox ORDER BY seq" if store else "app.effect ORDER BY nr"
    assert [bytes(row[0]) for row in box.database.query(f"SELECT payload FROM {table}")] == [b"before", large[0], b"between", large[1], b"behind"]


@pytest.mark.parametrize("rule", [{"id_header": "event-id"}, {"id_path": "/meta/id"}])
def test_E1_messages_without_the_id_they_should_have_act_all(inbox, rule):
    """No header, a null one, no JSON, a path to nothing: such a message is known by its place, and none is taken for another."""
    box = inbox(partitions=1, **rule)
    without = [message("x", identity=None), message("x", identity=None, headers=[("event-id", None)]), message("[]", identity=None),
               message(None, identity=None), message("", identity=None, headers=[("event-id", "")]), message('{"meta": {"id": {}}}', identity=None)]
    box.send(without)
    relay = box.relay()
    relay.drain()
    rows = effects(box, "id, log_offset")
    assert rows == [(f"{box.topic}/0/{n}", n) for n in range(len(without))]
    relay.drain()
    assert box.applied() == len(without)


def test_F10_start_refuse(inbox):
    box = inbox(start="refuse")
    relay = box.relay()
    assert relay.run("--until-empty") == 6 and "has no offset" in relay.log()


def test_F12_topic_made_again_is_refused_without_topic_ids(inbox, kafka):
    box = inbox(partitions=1)
    box.send_numbered(20)
    relay = box.relay()
    relay.env = {"ONCE_TEST_DISABLE": "topic_ids"}  # as with a librdkafka before 2.3
    relay.drain()
    kafka.tools.run("delete_topic", topic=box.topic)
    kafka.create_topic(box.topic, 1)
    box.send_numbered(5, first=100)
    assert relay.run("--until-empty") == 6
    assert "was deleted and made again" in relay.log() and "ends at offset 5" in relay.log()
    assert box.applied() == 20
    box.database.execute("SELECT once.offset_forget(%s, %s)", (box.entry["group"], box.topic))  # as the hint says
    relay.drain()
    assert [bytes(row[0]) for row in effects(box)][20:] == [b"100", b"101", b"102", b"103", b"104"]


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_F8_retention_has_removed_unread_messages(inbox, kafka, policy):
    box = inbox(partitions=1, on_out_of_range=policy)
    box.send_numbered(10)
    relay = box.relay()
    relay.drain()
    box.send_numbered(20, first=10)
    kafka.tools.run("delete_records", topic=box.topic, partition=0, before=25)
    status = relay.run("--until-empty")
    assert "Offsets 10 to 24 of" in relay.log()
    if policy == "stop":
        assert status == 6 and box.applied() == 10
    else:
        assert status == 0 and box.applied() == 15


def test_I13_foreign_group_is_refused(inbox, kafka):
    box = inbox(partitions=1)
    box.send_numbered(10)
    kafka.tools.run("set_group_offset", group=box.entry["group"], topic=box.topic, partition=0, offset=4)
    relay = box.relay()
    assert relay.run("--until-empty") == 6
    assert "is used by another consumer" in relay.log() and box.applied() == 0


def test_I13_database_that_lost_its_offsets_is_refused(inbox):
    box = inbox(partitions=1)
    box.send_numbered(10)
    relay = box.relay()
    relay.drain()
    box.database.execute("DELETE FROM once.consumer_offset")
    assert relay.run("--until-empty") == 6
    assert "does not know how far group" in relay.log() and box.applied() == 10


@pytest.mark.parametrize("handler,words", [
    ("app.nothing", "does not exist"), ("app.wrong", "does not exist"), ("app.forbidden", "may not be executed"),
    ("app.stable", "is not volatile"), ("no good'name", "handler")])
def test_bad_handler_is_refused_at_start(inbox, handler, words):
    box = inbox(handler=handler)
    box.database.execute("CREATE FUNCTION app.wrong(once.message) RETURNS void LANGUAGE sql AS ''")
    box.database.execute("CREATE FUNCTION app.stable(once.message[]) RETURNS void STABLE LANGUAGE sql AS ''")
    box.database.execute("CREATE FUNCTION app.forbidden(once.message[]) RETURNS void LANGUAGE sql AS ''")
    box.database.execute("REVOKE ALL ON FUNCTION app.forbidden FROM PUBLIC")
    relay = box.relay()
    assert relay.run("--until-empty") == 2 and words in relay.log()


def test_role_without_rights_is_told_which(inbox):
    box = inbox()
    box.database.execute("REVOKE EXECUTE ON FUNCTION once.offset_claim_topic FROM relay")
    relay = box.relay()
    assert relay.run("--until-empty") == 4 and "once.grant_consumer" in relay.log()
