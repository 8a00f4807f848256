"""Drain with exactly-once, beside a raw transactional librdkafka producer with the same messages from memory.

1 M committed events of 200 B with 3 headers, 10 per transaction; resident memory, also over a 10 M backlog, and the
time from the relay's start to the first message of that backlog at a read_committed reader (P17: below 1 s).
"""
import time

from support.process import wait_until
from support.relay import Relay

from bench.servers import Peak, cluster, kafka, pgbench, program, scale, seconds_since

TRANSACTION = 20000
HEADERS = """jsonb_build_object('trace', '0af7651916cd43dd', 'tenant', 'tenant-' || g % 10, 'type', 'created')"""
TEN = f"""SELECT count(once.publish_text('drain', repeat('x', 200), key => 'k' || (g + :client_id * 10) % 1000,
headers => {HEADERS})) FROM generate_series(1, 10) g;"""
THOUSAND = TEN.replace("(1, 10)", "(1, 1000)").replace("'drain'", "'backlog'")


def load(database, script, events, per_transaction):
    clients = 8
    start = time.monotonic()
    pgbench(database, script, clients=clients, transactions=events // per_transaction // clients)
    return events // per_transaction // clients * clients * per_transaction, seconds_since(start)


def raw(broker, events, topic, ring):
    broker.create_topic(topic, 4)
    return program("raw_producer", brokers=broker.brokers, topic=topic, count=events, transaction=TRANSACTION,
                   ring=ring)


def drain(report, server, broker, events, producers):
    name = f"drain{producers}"
    database = server.create_database(name)
    loaded, _ = load(database, TEN, events, 10)
    before = raw(broker, events, f"raw-{name}-before", producers)
    broker.create_topic("drain", 4)
    relay = Relay(database, broker.brokers, "--set", f"outbox.producers={producers}")
    start = time.monotonic()
    relay.start("--until-empty")
    peak = Peak(relay.process.pid)
    status = relay.process.wait(600)
    seconds = seconds_since(start)
    megabytes = peak.stop()
    assert status == 0, relay.log()[-3000:]
    after = raw(broker, events, f"raw-{name}-after", producers)
    delivered = len(broker.read("drain", timeout=600))
    assert delivered == loaded, f"published {loaded}, delivered {delivered}"
    rate, ceiling = loaded / seconds, (before["rate"] + after["rate"]) / 2
    report.add("drain", f"raw producer, ring of {producers}, {TRANSACTION} a transaction", ceiling, "events/s",
               before=before["rate"], after=after["rate"], librdkafka=before["librdkafka"])
    report.add("drain", f"once-relay --until-empty, ring of {producers}, {loaded} events", rate, "events/s",
               rate / ceiling, "aim 0.90, at least 0.70", seconds=seconds)
    report.add("drain", f"resident memory, ring of {producers}", megabytes, "MB", None, "at most 100")
    broker.tools.run("delete_topic", topic="drain")
    database.drop()


def backlog(report, server, broker, events):
    database = server.create_database("backlog")
    loaded, seconds = load(database, THOUSAND, events, 1000)
    report.note(f"backlog of {loaded} events published in {seconds:.0f} s")
    broker.create_topic("backlog", 4)
    relay = Relay(database, broker.brokers)
    reader = broker.follow("backlog")
    time.sleep(3)
    start = time.monotonic()
    relay.start("--until-empty")
    peak = Peak(relay.process.pid)
    wait_until("the first message of the backlog", reader.count, 60, 0.005)
    first = seconds_since(start)
    reader.stop()
    status = relay.process.wait(3600)
    seconds = seconds_since(start)
    assert status == 0, relay.log()[-3000:]
    report.add("drain", f"backlog of {loaded}: start → first message read", first, "s", None, "below 1")
    report.add("drain", f"backlog of {loaded}: throughput", loaded / seconds, "events/s")
    report.add("drain", f"backlog of {loaded}: resident memory", peak.stop(), "MB", None, "at most 100")
    database.drop()


def bench(report):
    with cluster() as server, kafka() as broker:
        raw(broker, 500_000, "warm", 2)  # a young JVM is slow: not counted
        for producers in (1, 2):
            drain(report, server, broker, scale("BENCH_EVENTS", 1_000_000), producers)
        backlog(report, server, broker, scale("BENCH_BACKLOG", 10_000_000))
