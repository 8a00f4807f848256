#!/usr/bin/python3
"""make demo: the whole way, database A → Kafka → database B, on private servers, both relays killed in the middle.

Ends with one line, `published N · delivered N · lost 0 · doubled 0 · inverted 0 · applied N · relay killed K times`;
exit 0 only if that is true. KEEP=1 leaves the servers up and prints how to talk to them.
"""
import random
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
from support import checker, writers  # noqa: E402
from support.inbox import received  # noqa: E402
from support.inbox_checker import check_inbox  # noqa: E402
from support.kafka import Kafka  # noqa: E402
from support.postgres import Cluster  # noqa: E402
from support.process import KEEP, RELAY, STAGED_BIN, wait_until  # noqa: E402
from support.relay import Relay  # noqa: E402

TOPICS = {"orders": 4, "invoices": 2}
THREADS = 6
KILLS = 5
WRITE_SECONDS = 20
STARTED = time.monotonic()

# Database B: what the handler does happens in the transaction of the dedup and the offset. The counter of a key would
# show an effect that happened twice; the numbers show their order.
BILLING = """
CREATE SCHEMA billing AUTHORIZATION relay;
SELECT once.grant_consumer('relay');
SET ROLE relay;
CREATE TABLE billing.effect (nr bigserial PRIMARY KEY, topic text, partition int, log_offset bigint, key text, payload bytea);
CREATE TABLE billing.account (topic text, key text, events bigint NOT NULL, PRIMARY KEY (topic, key));
CREATE FUNCTION billing.charge(messages once.message[]) RETURNS void LANGUAGE sql BEGIN ATOMIC
    INSERT INTO billing.effect (topic, partition, log_offset, key, payload)
        SELECT topic, partition, log_offset, key, payload FROM unnest(messages);
    INSERT INTO billing.account SELECT topic, key, count(*) FROM unnest(messages) GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (topic, key) DO UPDATE SET events = account.events + excluded.events;
END;
"""


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
    receiver = cluster.create_database("billing")
    receiver.execute(BILLING)
    say("the same in database billing, with a handler billing.charge(messages once.message[])")
    return cluster, kafka, database, receiver


def inbox_relay(receiver, kafka):
    relay = Relay(receiver, kafka.brokers, command="inbox")
    file = relay.folder / "inbox.toml"
    file.write_text("".join(f'[[inbox]]\ntopic = "{topic}"\ngroup = "billing"\nconsumer = "billing"\n'
                            f'handler = "billing.charge"\n\n' for topic in TOPICS))
    # The demo does not want to wait 6 s for the group to notice each kill.
    relay.arguments = ["--config", str(file), "--set", "kafka.session.timeout.ms=2000",
                       "--set", "kafka.heartbeat.interval.ms=500"]
    return relay


def write_and_kill(database, relay, inbox):
    """Application transactions run all the time; the relays die by SIGKILL in between and are started again."""
    seed = random.randrange(1 << 32)
    say(f"{THREADS} applications publish: several keys, some roll back, some use savepoints (seed {seed})")
    work = writers.Writers(database, TOPICS, keys=12, seed=seed, long_transactions=True).start(THREADS, pause=0.004)
    relay.start()
    inbox.start()
    say(f"once-relay outbox (pid {relay.process.pid}) and once-relay inbox (pid {inbox.process.pid}) run")
    chance, kills = random.Random(seed), 0
    for number in range(KILLS):
        time.sleep(WRITE_SECONDS / (KILLS + 1) * (0.5 + chance.random()))
        for victim in (relay, inbox) if number % 2 == 0 else (relay,):
            assert victim.alive(), f"the relay ended by itself:\n{victim.log()[-3000:]}"
            pid = victim.process.pid
            victim.kill()
            kills += 1
            say(f"SIGKILL to {victim.command} relay {pid}: {work.committed} events committed so far; starting another")
            victim.start()
    time.sleep(WRITE_SECONDS / (KILLS + 1))
    work.stop()
    rolled_back = sum(intent.outcome == "rolled back" for intent in work.intents)
    say(f"applications are done: {work.committed} events committed, {rolled_back} rolled back")
    return work, kills


def drain(relay, done):
    status = relay.stop()
    assert status == 0, f"SIGTERM to the relay: exit {status}\n{relay.log()[-3000:]}"
    relay.drain(timeout=60)
    say(f"once-relay {relay.command} --until-empty: everything is {done}")


def applied(kafka, receiver, final):
    """Effects in database B, each message of the log exactly once and in the order of its key; None if that is not so."""
    effects, stored = received(receiver, "billing.effect")
    report = check_inbox(final, effects, stored, kafka.ends(*TOPICS))
    counted = receiver.value("SELECT sum(events) FROM billing.account")
    say(f"database billing has {len(effects)} effects, its accounts count {counted}: checked against the log, key by key, and the offsets")
    if not report.ok:
        print(report)
    return len(effects) if report.ok and counted == len(effects) else None


def verdict(kafka, database, work, live):
    final = kafka.read(*TOPICS)
    positions = kafka.read("once.positions")
    say(f"an independent read_committed client (Java) read {len(final)} messages back")
    wait_until("the live reader is at the end", lambda: live.count() >= len(final), 30)
    history = checker.History(intents=work.intents, rows=writers.rows(database), final=final, live=[live.stop()],
                              positions=positions, partitions=TOPICS,
                              transactions=kafka.transactions(positions))
    report = checker.check(history)
    say(f"checked against the writers' logs, the tables and {len(positions)} position records")
    if not report.ok:
        print(report)
    return report, final


def how_to_talk(cluster, kafka):
    print(f"""
The servers are still up (KEEP=1):
  {STAGED_BIN}/psql '{cluster.dsn("shop")}'
      SELECT once.publish('orders', '{{"id":1}}'::jsonb, key => '1');
  {STAGED_BIN}/psql '{cluster.dsn("billing")}'
      SELECT * FROM billing.account;
  {RELAY} outbox --database '{cluster.dsn("shop")}' --brokers {kafka.brokers} --until-empty
  kcat -b {kafka.brokers} -C -t orders -X isolation.level=read_committed -e
Stop and remove them:
  kill {kafka.nodes[0].process.pid} {cluster.process.pid}; rm -rf {kafka.folder} {cluster.folder}
""")


def main():
    cluster, kafka, database, receiver = start_servers()
    live = kafka.follow(*TOPICS)
    relay, inbox = Relay(database, kafka.brokers), inbox_relay(receiver, kafka)
    work, kills = write_and_kill(database, relay, inbox)
    drain(relay, "shipped")
    drain(inbox, "applied")
    report, final = verdict(kafka, database, work, live)
    effects = applied(kafka, receiver, final)
    if KEEP:
        how_to_talk(cluster, kafka)
    else:
        kafka.stop()
        cluster.stop()
        say("everything that was started is stopped")
    print(f"published {report.published} · delivered {report.delivered} · lost {report.count('lost')} · "
          f"doubled {report.count('doubled')} · inverted {report.count('inverted')} · "
          f"applied {'NOT EXACT' if effects is None else effects} · relay killed {kills} times")
    good = report.ok and report.published == report.delivered == effects > 0 and kills >= 3
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
