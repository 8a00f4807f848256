#!/usr/bin/python3
"""make demo: the whole way on private servers, the relay killed in the middle.

Ends with one line, `published N · delivered N · lost 0 · doubled 0 · inverted 0 · relay killed K times`; exit 0 only
if that is true. KEEP=1 leaves the servers up and prints how to talk to them.
"""
import random
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import checker, writers  # noqa: E402
from support.kafka import Kafka  # noqa: E402
from support.postgres import Cluster  # noqa: E402
from support.process import KEEP, RELAY, STAGED_BIN, wait_until  # noqa: E402
from support.relay import Relay  # noqa: E402

TOPICS = {"orders": 4, "invoices": 2}
THREADS = 6
KILLS = 5
WRITE_SECONDS = 20
STARTED = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


def start_servers():
    say("starting a private PostgreSQL cluster and a real Apache Kafka broker (KRaft) on loopback")
    cluster = Cluster(name="demo", keep=KEEP).create().start()
    kafka = Kafka(keep=KEEP).start()
    say(f"PostgreSQL on port {cluster.port}, Kafka on {kafka.brokers}")
    database = cluster.create_database("shop")
    say("CREATE EXTENSION pg_once in database shop; role relay got its rights by once.grant_relay")
    for topic, partitions in TOPICS.items():
        kafka.create_topic(topic, partitions)
    return cluster, kafka, database


def write_and_kill(database, relay):
    """Application transactions run all the time; the relay dies by SIGKILL in between and is started again."""
    seed = random.randrange(1 << 32)
    say(f"{THREADS} applications publish: several keys, some roll back, some use savepoints (seed {seed})")
    work = writers.Writers(database, TOPICS, keys=12, seed=seed, long_transactions=True).start(THREADS, pause=0.004)
    relay.start()
    say(f"once-relay outbox runs (pid {relay.process.pid})")
    chance, kills = random.Random(seed), 0
    for _ in range(KILLS):
        time.sleep(WRITE_SECONDS / (KILLS + 1) * (0.5 + chance.random()))
        assert relay.alive(), f"the relay ended by itself:\n{relay.log()[-3000:]}"
        pid = relay.process.pid
        relay.kill()
        kills += 1
        say(f"SIGKILL to relay {pid}: {work.committed} events committed so far; starting another")
        relay.start()
    time.sleep(WRITE_SECONDS / (KILLS + 1))
    work.stop()
    rolled_back = sum(intent.outcome == "rolled back" for intent in work.intents)
    say(f"applications are done: {work.committed} events committed, {rolled_back} rolled back")
    return work, kills


def drain(relay):
    status = relay.stop()
    assert status == 0, f"SIGTERM to the relay: exit {status}\n{relay.log()[-3000:]}"
    relay.drain(timeout=60)
    say("once-relay outbox --until-empty: everything is shipped")


def verdict(kafka, database, work, live):
    final = kafka.read(*TOPICS)
    positions = kafka.read("once.positions")
    say(f"an independent read_committed client (Java) read {len(final)} messages back")
    wait_until("the live reader is at the end", lambda: live.count() >= len(final), 30)
    history = checker.History(intents=work.intents, rows=writers.rows(database), final=final, live=[live.stop()],
                              positions=positions, partitions=TOPICS)
    report = checker.check(history)
    say(f"checked against the writers' logs, the tables and {len(positions)} position records")
    if not report.ok:
        print(report)
    return report


def how_to_talk(cluster, kafka):
    print(f"""
The servers are still up (KEEP=1):
  {STAGED_BIN}/psql '{cluster.dsn("shop")}'
      SELECT once.publish('orders', '{{"id":1}}'::jsonb, key => '1');
  {RELAY} outbox --database '{cluster.dsn("shop")}' --brokers {kafka.brokers} --until-empty
  kcat -b {kafka.brokers} -C -t orders -X isolation.level=read_committed -e
Stop and remove them:
  kill {kafka.nodes[0].process.pid} {cluster.process.pid}; rm -rf {kafka.folder} {cluster.folder}
""")


def main():
    cluster, kafka, database = start_servers()
    live = kafka.follow(*TOPICS)
    relay = Relay(database, kafka.brokers)
    work, kills = write_and_kill(database, relay)
    drain(relay)
    report = verdict(kafka, database, work, live)
    if KEEP:
        how_to_talk(cluster, kafka)
    else:
        kafka.stop()
        cluster.stop()
        say("everything that was started is stopped")
    print(f"published {report.published} · delivered {report.delivered} · lost {report.count('lost')} · "
          f"doubled {report.count('doubled')} · inverted {report.count('inverted')} · relay killed {kills} times")
    good = report.ok and report.published == report.delivered > 0 and kills >= 3
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
