"""Start of the relay → running, with 2 M records of other lanes in the topic of the positions.

The relay's own record lies at the end, as after a crash; or there is none yet, and all of the topic has to be read.
"""
import time

from support.relay import Relay

from bench.servers import cluster, kafka, program, scale, seconds_since

POSITIONS = "startup.positions"


def start_until_running(database, broker):
    with Relay(database, broker.brokers, env={"ONCE_OUTBOX_POSITION_TOPIC": POSITIONS}) as relay:
        start = time.monotonic()
        relay.start()
        relay.wait_state("running", timeout=120)
        seconds = seconds_since(start)
        relay.kill()
    return seconds


def bench(report):
    records = scale("BENCH_RECORDS", 2_000_000)
    with cluster() as server, kafka() as broker:
        database = server.create_database("startup")
        broker.create_topic(POSITIONS, 1, cleanup_policy="compact")
        program("raw_producer", brokers=broker.brokers, topic=POSITIONS, count=records, transaction=20000, ring=2,
                size=400, headers=0)
        first = start_until_running(database, broker)
        again = sorted(start_until_running(database, broker) for _ in range(5))
        report.add("startup", f"first start of a lane, {records} records to read", first, "s")
        report.add("startup", f"restart, own record behind {records} others, worst of 5", again[-1], "s", None, "below 3")
