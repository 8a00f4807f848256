"""once-relay inbox into once.inbox and into an empty handler, beside a raw consumer with COPY BINARY.

200 B messages with the relay's headers. The raw consumer copies into a table with the columns and indexes of once.inbox;
it keeps neither offsets nor ids that were seen. Beside it, as a bound nobody can reach who hands messages to a function:
the ids alone into a table with one unique index.
"""
import time

from support.relay import Relay

from bench.servers import Peak, cluster, kafka, program, scale, seconds_since

HANDLER = """
CREATE FUNCTION public.nothing(messages once.message[]) RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
CREATE FUNCTION public.nothing(message once.message) RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
CREATE TABLE public.raw_inbox (LIKE once.inbox INCLUDING ALL EXCLUDING IDENTITY);
CREATE TABLE public.raw_id (id uuid PRIMARY KEY);
SELECT once.grant_consumer('relay');
"""


def raw(database, broker, count, columns, batch):
    table = f"raw_{columns}"
    database.execute(f"TRUNCATE public.{table}")
    database.execute("CHECKPOINT")
    return program("raw_consumer", brokers=broker.brokers, topic="in", database=database.dsn("postgres"), count=count,
                   table=table, columns=columns, batch=batch)["rate"]


def receive(database, broker, count, name, batch, **entry):
    relay = Relay(database, broker.brokers, command="inbox")
    file = relay.folder / "relay.toml"
    lines = {"topic": '"in"', "group": f'"{name}"', "consumer": f'"{name}"', "max_rows": batch, **entry}
    file.write_text("[[inbox]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items()))
    relay.arguments = ["--config", str(file)]
    database.execute("CHECKPOINT")
    start = time.monotonic()
    relay.start("--until-empty")
    peak = Peak(relay.process.pid)
    status = relay.process.wait(600)
    seconds = seconds_since(start)
    assert status == 0, relay.log()[-3000:]
    taken = database.value("SELECT sum(next) FROM once.consumer_offset WHERE grp = %s", (name,))
    assert taken >= count, f"{taken} of {count}"
    return count / seconds, peak.stop()


def compare(report, database, broker, count, batch):
    def ceiling():
        return raw(database, broker, count, "inbox", batch)
    inboxes = {"store": {"store": "true"}, "an empty handler": {"handler": '"public.nothing"'}}
    before = ceiling()
    for what, entry in inboxes.items():
        rate, megabytes = receive(database, broker, count, what.replace(" ", "_"), batch, **entry)
        database.execute("TRUNCATE once.inbox")
        after = ceiling()
        middle = (before + after) / 2
        report.add("inbox", f"raw consumer + COPY BINARY, {batch} a transaction", middle, "messages/s", before=before,
                   after=after)
        report.add("inbox", f"once-relay inbox into {what}, {batch} a transaction", rate, "messages/s", rate / middle,
                   "at least 0.60")
        report.add("inbox", f"resident memory, {what}", megabytes, "MB", None, "at most 100")
        before = after
    report.add("inbox", "raw consumer + COPY BINARY of the ids alone", raw(database, broker, count, "id", batch), "messages/s")


def bench(report):
    count = scale("BENCH_MESSAGES", 500_000)
    with cluster() as server, kafka() as broker:
        database = server.create_database("inbox")
        database.execute(HANDLER)
        broker.create_topic("in", 4)
        program("raw_producer", brokers=broker.brokers, topic="in", count=count)
        compare(report, database, broker, count, scale("BENCH_BATCH", 1000))
