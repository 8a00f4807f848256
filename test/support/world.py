"""One test's world: a database of its own, topics and a position topic of its own on the shared servers."""
from . import checker, writers
from .relay import Relay

# What was put aside, and the number that it was shipped under last: trimming takes the entries away. And each position that
# a relay reported, with the first events that it had not passed then; trimming comes behind the report in the same transaction, at
# whose end `missing` says which of them are gone.
SCHEMA = """
CREATE TABLE app_parked (id uuid PRIMARY KEY, lane int, seq bigint, stamp bigint);
CREATE FUNCTION app_remember() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO public.app_parked VALUES (new.id, new.lane, new.seq, new.stamp)
        ON CONFLICT (id) DO UPDATE SET stamp = excluded.stamp;
    RETURN NULL;
END $$;
CREATE TRIGGER app_remember AFTER INSERT OR UPDATE ON once.dead_letter FOR EACH ROW EXECUTE FUNCTION app_remember();

CREATE TABLE app_report (xid xid8, lane int, position jsonb, waiting bigint[], missing bigint[]);
CREATE INDEX ON app_report (xid);
CREATE FUNCTION app_reported() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    passed pg_snapshot := new.position ->> CASE WHEN new.position ->> 'slice_seq' IS NULL THEN 's_now' ELSE 's_prev' END;
BEGIN
    IF tg_name = 'app_reported' THEN
        EXECUTE format('INSERT INTO public.app_report SELECT pg_current_xact_id(), $1, $2, ARRAY(SELECT seq FROM once.event_%s '
                       'WHERE xid >= pg_snapshot_xmax($3) OR xid = ANY (ARRAY(SELECT pg_snapshot_xip($3))) ORDER BY seq LIMIT 1000)', new.lane)
            USING new.lane, new.position, passed;
    ELSE
        EXECUTE format('UPDATE public.app_report r SET missing = ARRAY(SELECT unnest(r.waiting) EXCEPT SELECT seq FROM once.event_%s '
                       'WHERE seq = ANY (r.waiting)) WHERE r.xid = pg_current_xact_id() AND r.lane = $1', new.lane)
            USING new.lane;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER app_reported AFTER INSERT OR UPDATE ON once.relay_report
    FOR EACH ROW WHEN (new.position IS NOT NULL) EXECUTE FUNCTION app_reported();
CREATE CONSTRAINT TRIGGER app_trimmed AFTER INSERT OR UPDATE ON once.relay_report DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (new.position IS NOT NULL) EXECUTE FUNCTION app_reported();
"""


class World:
    def __init__(self, cluster, kafka, name, topics=None):
        self.cluster = cluster
        self.kafka = kafka
        self.name = name
        self.position_topic = f"{name}.positions"
        self.topics = {}
        self.database = cluster.create_database(name)
        self.database.execute(SCHEMA)
        self.relays = []
        self.rows = {}
        self.work = None
        for topic, partitions in (topics or {"orders": 4, "bills": 2}).items():
            self.topic(topic, partitions)

    def topic(self, topic, partitions=4, **settings):
        """Creates `<name>.<topic>` and returns that name."""
        full = f"{self.name}.{topic}"
        self.kafka.create_topic(full, partitions, **settings)
        self.topics[full] = partitions
        return full

    def relay(self, *arguments, brokers=None, env=None, **options):
        settings = {"ONCE_OUTBOX_POSITION_TOPIC": self.position_topic, **(env or {})}
        relay = Relay(options.pop("database", self.database), brokers or self.kafka.brokers, *arguments, env=settings,
                      **options)
        self.relays.append(relay)
        return relay

    def writers(self, **options):
        """More writers share the intent log: one history for the whole test."""
        new = writers.Writers(self.database, options.pop("topics", list(self.topics)), **options)
        if self.work:
            new.intents = self.work.intents
        self.work = new
        return new

    def publish(self, topic, payload="x", key=None, **more):
        """One event in a transaction of its own; its id."""
        names = "".join(f", {name} => %s" for name in more)
        kind = "bytes" if isinstance(payload, bytes) else "text"
        return self.database.value(f"SELECT once.publish_{kind}(%s, %s, key => %s{names})::text",
                                   (topic, payload, key, *more.values()))

    def publish_bulk(self, topic, count, keys=100, size=100):
        """One transaction of `count` events."""
        self.database.execute("SELECT count(once.publish_text(%s, rpad(n::text, %s, '.'), key => 'k' || n %% %s)) "
                              "FROM generate_series(1, %s) n", (topic, size, keys, count))

    def remember(self):
        """Reads the truth before something may trim it: rows add up over a test."""
        for row in writers.rows(self.database):
            self.rows[(row.lane, row.seq)] = row

    def parked(self):
        """(id, lane, the number under which it was shipped) of all that was ever put aside, by seq."""
        return self.database.query("SELECT id::text, lane, stamp FROM app_parked ORDER BY lane, seq")

    def incarnation(self, lane=0):
        return self.database.value("SELECT incarnation::text FROM once.lane WHERE lane = %s", (lane,))

    def messages(self, *topics):
        return self.kafka.read(*(topics or self.topics))

    def positions(self):
        return self.kafka.read(self.position_topic)

    def history(self, live=(), **more):
        self.remember()
        redriven = {}
        for identity, lane, stamp in self.parked():
            redriven.setdefault((lane, stamp), []).append(identity)
        positions = self.positions()
        return checker.History(
            intents=list(self.work.intents) if self.work else [], rows=list(self.rows.values()),
            final=self.messages(), live=list(live), positions=positions,
            transactions=self.kafka.transactions(positions),
            parked={identity for identity, *_ in self.parked()}, redriven=redriven,
            waiting={identity for (identity,) in self.database.query(
                "SELECT id::text FROM once.dead_letter WHERE stamp IS NULL")},
            reports=[checker.Reported(*row) for row in self.database.query("SELECT lane, position, missing FROM app_report")],
            partitions=dict(self.topics), **more)

    def check(self, live=(), **more):
        return checker.check(self.history(live, **more))

    def assert_exact(self, live=(), waiting=0, **more):
        """`waiting`: how many events stand aside at the end, by the test's own doing."""
        history = self.history(live, **more)
        report = checker.check(history)
        assert report.ok, f"{report}\n--- last relay's log:\n{self.last_log()}"
        assert len(history.waiting) == waiting, f"{len(history.waiting)} events were put aside and never shipped"
        return report

    def last_log(self):
        return self.relays[-1].log()[-3000:] if self.relays and self.relays[-1].process else ""

    def close(self):
        for relay in self.relays:
            if relay.process:
                relay.process.kill()
        self.database.drop()
