"""Publish → read_committed reader at 2,000 one-row transactions a second, beside the floor of Kafka transactions.

The floor is a bare loop on a plain table: difference, produce, position, commit, with the same number of producers.
"""
import itertools
import json
import statistics
import subprocess
import time

from support.relay import Relay

from bench.servers import PROGRAMS, cluster, kafka, pgbench, scale, start_program

RATE = 2000
ROUNDS = 3
NUMBER = itertools.count()
PAYLOAD = "to_char(extract(epoch FROM clock_timestamp()) * 1000000, 'FM0000000000000000') || repeat('x', 184)"
HEADERS = '\'{"trace": "0af7651916cd43dd", "tenant": "tenant-1", "type": "created"}\'::jsonb'
PUBLISH = f"""\\set k random(1, 1000)
SELECT once.publish_text('latency', {PAYLOAD}, key => 'k' || :k, headers => {HEADERS});
"""
INSERT = f"""\\set k random(1, 1000)
INSERT INTO floor_event (key, payload) VALUES ('k' || :k, {PAYLOAD});
"""
FLOOR_TABLE = """CREATE SEQUENCE floor_seq;
CREATE TABLE floor_event (xid xid8 NOT NULL DEFAULT pg_current_xact_id(), seq bigint PRIMARY KEY DEFAULT nextval('floor_seq'),
                          key text, payload text);
CREATE INDEX ON floor_event (xid)"""


def read(database, broker, script, topic, seconds):
    writer = pgbench(database, script, clients=8, seconds=seconds + 6, rate=RATE, tail=True)
    time.sleep(2)
    reader = start_program("latency_reader", brokers=broker.brokers, topic=topic, seconds=seconds, partitions=4)
    output, _ = reader.communicate(timeout=seconds + 60)
    writer.terminate()
    writer.wait(10)
    return json.loads(output)


def floor(server, broker, producers, seconds):
    database = server.create_database(f"floor{producers}", extension=False)
    database.execute(FLOOR_TABLE)
    topic = f"floor{next(NUMBER)}"
    broker.create_topic(topic, 4)
    process = subprocess.Popen([str(PROGRAMS / "floor"), "--database", database.dsn("postgres"), "--brokers",
                                broker.brokers, "--table", "floor_event", "--topic", topic, "--ring", str(producers),
                                "--seconds", str(seconds + 10)])
    time.sleep(2)
    result = read(database, broker, INSERT, topic, seconds)
    process.wait(60)
    database.drop()
    return result


def relay(server, broker, producers, seconds):
    database = server.create_database(f"latency{producers}")
    broker.create_topic("latency", 4)
    with Relay(database, broker.brokers, "--set", f"outbox.producers={producers}") as running:
        running.start()
        time.sleep(2)
        result = read(database, broker, PUBLISH, "latency", seconds)
        running.stop()
    broker.tools.run("delete_topic", topic="latency")
    database.drop()
    return result


def bench(report):
    seconds = scale("BENCH_SECONDS", 15)
    with cluster() as server, kafka() as broker:
        broker.create_topic("floor.positions", 1, cleanup_policy="compact")
        floor(server, broker, 2, 10)  # a young JVM is slow: not counted
        for producers in (1, 2):
            # In turn, so that neither gets the warmer broker.
            rounds = [measure(server, broker, producers, seconds) for _ in range(ROUNDS)
                      for measure in (floor, relay)]
            for quantile in ("p50", "p99"):
                beneath = statistics.median(one[quantile] for one in rounds[0::2])
                above = statistics.median(one[quantile] for one in rounds[1::2])
                report.add("latency", f"floor {quantile}, ring of {producers}, {rounds[0]['rate']:.0f}/s", beneath, "ms",
                           librdkafka=rounds[0]["librdkafka"])
                report.add("latency", f"once-relay {quantile}, ring of {producers}, {rounds[1]['rate']:.0f}/s", above,
                           "ms", above / beneath, "aim 1.3 at most", librdkafka=rounds[1]["librdkafka"])
