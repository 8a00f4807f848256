"""One test's world: a database of its own, topics and a position topic of its own on the shared servers."""
from . import checker, writers
from .relay import Relay


class World:
    def __init__(self, cluster, kafka, name, topics=None):
        self.cluster = cluster
        self.kafka = kafka
        self.name = name
        self.position_topic = f"{name}.positions"
        self.topics = {}
        self.database = cluster.create_database(name)
        self.relays = []
        self.rows = {}
        self.parked = set()
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
        kind = "bytea" if isinstance(payload, bytes) else "text"
        return self.database.value(f"SELECT once.publish(%s, %s::{kind}, key => %s{names})::text",
                                   (topic, payload, key, *more.values()))

    def publish_bulk(self, topic, count, keys=100, size=100):
        """One transaction of `count` events."""
        self.database.execute("SELECT count(once.publish(%s, rpad(n::text, %s, '.'), key => 'k' || n %% %s)) "
                              "FROM generate_series(1, %s) n", (topic, size, keys, count))

    def remember(self):
        """Reads the truth before something may trim it: rows and parked entries add up over a test."""
        for row in writers.rows(self.database):
            self.rows[(row.lane, row.seq)] = row
        self.parked |= {identity for (identity,) in self.database.query("SELECT id::text FROM once.dead_letter")}

    def incarnation(self, lane=0):
        return self.database.value("SELECT incarnation::text FROM once.lane WHERE lane = %s", (lane,))

    def messages(self, *topics):
        return self.kafka.read(*(topics or self.topics))

    def positions(self):
        return self.kafka.read(self.position_topic)

    def history(self, live=(), **more):
        self.remember()
        return checker.History(
            intents=list(self.work.intents) if self.work else [], rows=list(self.rows.values()),
            final=self.messages(), live=list(live), positions=self.positions(), parked=set(self.parked),
            waiting={identity for (identity,) in self.database.query(
                "SELECT id::text FROM once.dead_letter WHERE stamp IS NULL")},
            partitions=dict(self.topics), **more)

    def check(self, live=(), **more):
        return checker.check(self.history(live, **more))

    def assert_exact(self, live=(), **more):
        report = self.check(live, **more)
        assert report.ok, f"{report}\n--- last relay's log:\n{self.last_log()}"
        assert report.published > 0, "nothing was published: this test proves nothing"
        return report

    def last_log(self):
        return self.relays[-1].log()[-3000:] if self.relays and self.relays[-1].process else ""

    def close(self):
        for relay in self.relays:
            if relay.process:
                relay.process.kill()
        self.database.drop()
