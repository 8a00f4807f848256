"""What each fault of plan.KINDS does to what is published, stored and named: topics, producers, transactions."""
import threading
import time
import uuid

import psycopg2
from support.inbox import encode
from support.process import wait_until

from . import provoke
from .bank import TOO_LARGE
from .faults import NotReached, Skipped, fault, wait


@fault
def foreign_producer(system, step):
    name = f"once-{system.world.incarnation()}-0-{step['ring']}"
    system.kafka.tools.run("transaction", transactional_id=name)
    time.sleep(step.seconds)


@fault
def partition_added(system, step):
    """Only where no key has an order to lose."""
    count = system.world.topics[system.loose] + 1
    if count > 6:
        raise Skipped("the topic has enough partitions")
    system.kafka.tools.run("add_partitions", topic=system.loose, partitions=count)
    system.world.topics[system.loose] = count
    time.sleep(step.seconds)


@fault
def topic_recreated(system, step):
    """The lane waits for a topic that is gone and goes on when it is there again. What stood in it is kept for the
    checker: deleting a topic deletes its messages, and no relay can help that."""
    mortal, tools = system.mortal, system.kafka.tools
    system.bank.put(mortal, 5)
    count = system.database.value("SELECT count(*) FROM app_truth WHERE topic = %s", (mortal,))
    ends = lambda: len(system.kept) + len(system.kafka.read(mortal, timeout=5)) == count
    if not wait(ends, 15):
        raise NotReached("the topic's events were not shipped in time")
    system.kept += system.kafka.read(mortal)
    tools.run("delete_topic", topic=mortal)
    try:
        system.bank.put(mortal, 3)
        time.sleep(step.seconds)
    finally:
        wait_until("the topic is gone", lambda: mortal not in tools.run("list_topics"), 20, 0.2)
        system.kafka.create_topic(mortal, 1)


@fault
def right_revoked(system, step):
    """Brokers refuse a relay what it needs; when it has its right again it goes on by itself."""
    operation, kind, what = step["right"]
    name = {"orders": next(topic for topic in system.world.topics if topic.endswith("orders")), "positions": system.world.position_topic}.get(what, what)
    refusals = lambda: sum(log.read_text(errors="replace").count("uthori") for daemon in system.daemons
                           for log in daemon.relay.folder.glob("*.log"))
    before = refusals()
    system.deny(operation, kind, name, "prefixed" if kind == "transactional_id" else "literal")
    time.sleep(step.seconds)
    met = refusals() > before
    system.give_back()
    if not met:
        raise NotReached(f"nobody was refused to {operation} {what}")


@fault
def poison(system, step):
    """The broker refuses it for good while the topic takes 3,000 bytes: it is put aside, and its key held."""
    system.bank.put(system.small, 1, f"k{step['key']}", TOO_LARGE)
    time.sleep(step.seconds)


@fault
def redrive_refused(system, step):
    """Wanted, though the broker still refuses it."""
    system.database.execute("SELECT once.redrive_all()")
    time.sleep(step.seconds)


@fault
def redrive(system, step):
    provoke.limit(system, 100000)
    system.database.execute("SELECT once.redrive_all()")
    time.sleep(step.seconds)
    provoke.limit(system, 3000)


@fault
def long_transaction(system, step):
    """P15: an open transaction that published holds up nothing but trimming."""
    connection = system.database.connect(autocommit=False)
    try:
        with connection.cursor() as cursor:
            events = system.bank.hold(cursor, system.small, f"slow{step.period}.{step.at}")
        time.sleep(step.seconds)
        system.bank.commit(connection, events)
    except psycopg2.Error:  # its server died: rolled back, or the table knows
        pass
    finally:
        connection.close()


@fault
def prepared(system, step):
    name = f"p{step.period}.{step.at}"
    connection = system.database.connect(autocommit=False)
    try:
        with connection.cursor() as cursor:
            events = system.bank.hold(cursor, system.small, name)
            cursor.execute("PREPARE TRANSACTION %s", (name,))
        connection.commit()
    finally:
        connection.close()
    try:
        time.sleep(step.seconds)
        wait(lambda: finish_prepared(system, name), 20)
    finally:
        system.bank.settle(events, "unknown")


def finish_prepared(system, name):
    """Asked again after a server that died: whether it is there is what the server says."""
    try:
        if system.database.query("SELECT 1 FROM pg_prepared_xacts WHERE gid = %s", (name,)):
            system.database.execute("COMMIT PREPARED %s", (name,))
        return True
    except psycopg2.Error:
        return False


@fault
def positions_compacted(system, step):
    """As hard as the broker can: of each key only the last record stays. What is judged are the records as they came."""
    alter = lambda **settings: system.kafka.tools.run("alter_topic", topic=system.world.position_topic, settings={
        name.replace("_", "."): value for name, value in settings.items()})
    there = lambda: {message.offset for message in system.kafka.read(system.world.position_topic) if system.world.owns(message)}
    before = there()
    alter(segment_ms="500", min_cleanable_dirty_ratio="0.001", delete_retention_ms="0", max_compaction_lag_ms="2500",
          min_compaction_lag_ms="2000")
    try:
        time.sleep(step.seconds * 3 / 4)
        if not wait(lambda: before - there(), step.seconds / 2):
            raise NotReached("the cleaner has removed none of our records")
    finally:
        alter(segment_ms="604800000", min_cleanable_dirty_ratio="0.5", max_compaction_lag_ms="9223372036854775807",
              min_compaction_lag_ms="0", delete_retention_ms="86400000")


@fault
def positions_long(system, step):
    """Records of many other lanes stand between ours and the end."""
    record = {"key": encode(f"{uuid.uuid4()}/0"), "value": encode("{}")}
    system.kafka.tools.run("produce_many", topic=system.world.position_topic, messages=[record] * 3000)
    time.sleep(step.seconds)


@fault
def rotate(system, step):
    system.database.execute("SELECT once.rotate()")
    time.sleep(step.seconds)


@fault
def reindex(system, step):
    """New indexes are built beside the old ones of a table that is being written; an old snapshot makes that last. What is
    cut short (a prepared transaction, a server that dies) leaves an invalid index behind, which is written like the others."""
    database, table = system.box.database, "once.consumer_offset"
    if step["which"] == "sender":
        database = system.database
        table = database.value("SELECT format('once.event_0_%s', (SELECT coalesce(max(seq), 0) FROM once.event_0) "
                               "/ generation_rows % children) FROM once.lane WHERE lane = 0")
    holder, worker = database.connect(autocommit=False), database.connect()
    holder.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    given_back = threading.Timer(step.seconds / 2, holder.close)
    given_back.start()
    try:
        with worker.cursor() as cursor:
            cursor.execute("SET statement_timeout = %s", (f"{step.seconds * 2} s",))
            cursor.execute(f"REINDEX TABLE CONCURRENTLY {table}")
    except psycopg2.Error as error:
        raise NotReached("it was cut short") from error
    finally:
        given_back.join()
        worker.close()


@fault
def idle(system, step):
    """Longer than transactional ids live at the brokers (9 s here): the next transaction finds its id gone."""
    producers = lambda: {each["id"]: each["producer"] for each in system.kafka.tools.run("transactions")}
    before = producers()
    system.bank.paused.set()
    try:
        time.sleep(step.seconds)
        after = producers()
    finally:
        system.bank.paused.clear()
    # One that was taken again after it had expired has got another producer.
    if all(after.get(name) == producer for name, producer in before.items()):
        raise NotReached("no id has expired")
