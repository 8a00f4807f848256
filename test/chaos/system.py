"""The real thing under test: servers, relays, writers, readers, and how all of it is healed."""
import threading
import time

from support.database_proxy import DatabaseProxy
from support.inbox import Inbox
from support.kafka import FLEETING, Kafka
from support.postgres import RELAY_ROLE, Cluster, move_near_wrap
from support.process import wait_until
from support.proxy import Proxy
from support.security import NamedClients
from support.world import World

from . import bank
from .daemon import Daemon
from .plan import BIRTHS

NAME = "chaos"
KAFKA = {"transactional.id.expiration.ms": 9000, "transaction.remove.expired.transaction.cleanup.interval.ms": 1000,
         "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000, "log.cleaner.backoff.ms": 500,
         **NamedClients.BROKER}
RELAY = [*NamedClients.CLIENT, "--set", "kafka.socket.timeout.ms=2000", "--set", "kafka.reconnect.backoff.max.ms=1000",
         "--set", "kafka.topic.metadata.refresh.interval.ms=2000"]
OUTBOX = {"ONCE_OUTBOX_MAX_ROWS": "60", "ONCE_OUTBOX_SLICE_ROWS": "40", "ONCE_OUTBOX_REPORT_MS": "300",
          "ONCE_OUTBOX_BACKOFF_MAX_MS": "1000"}
# wal_writer_delay: what was committed asynchronously is lost when the server is killed (P21).
POSTGRES = "wal_writer_delay = 5s\nshared_buffers = 32MB\nmax_wal_size = 96MB\n"
THREADS = 4


class ChaosWorld(World):
    """Truth comes from the application's own tables: event tables are trimmed all the time."""

    names = ()  # of our lanes, as position records have them
    witness = ()  # records of the position topic as a live reader saw them: compaction takes them away

    def positions(self):
        """Of our own lanes; others stand there too."""
        seen = {message.offset: message for message in [*self.witness, *super().positions()] if self.owns(message)}
        return [seen[offset] for offset in sorted(seen)]

    def owns(self, message):
        if not self.names:  # asked while the server is there: no fault makes another incarnation
            self.names = {f"{incarnation}/{lane}" for incarnation, lane in self.database.query("SELECT incarnation, lane FROM once.lane")}
        return message.key.decode().removesuffix("/start") in self.names

    def remember(self):
        for row in bank.truth(self.database):
            self.rows[(row.lane, row.seq)] = row


class System:
    def __init__(self, plan, tally, tmpfs):
        self.plan, self.tally, self.tmpfs = plan, tally, tmpfs
        self.standby = None
        self.broker_clocks = None  # whether a broker runs with a clock of its own; None: not tried
        self.kept = []  # messages of a topic's life before it was deleted
        self.denied = []  # rights that the relays do not have just now
        self.pause_seconds = 0.1
        self.watching = threading.Event()  # set: nobody is started again
        self.kafka = self.sender = self.receiver = self.bank = None
        self.daemons, self.proxies, self.wires = [], [], {}

    def start(self):
        self.kafka = Kafka(3, heap="256m", java=FLEETING, settings=KAFKA)
        brokers = threading.Thread(target=self.kafka.start)
        brokers.start()
        self.sender = self._cluster("sender", self.plan.near_wrap).start()
        self.receiver = self._cluster("receiver").start()
        brokers.join()
        if not self.kafka.tools:
            raise RuntimeError("the brokers did not start")
        self.proxies = [Proxy(node) for node in self.kafka.nodes]
        self._world()
        self._relays()
        return self

    def _cluster(self, name, near_wrap=False):
        cluster = Cluster(POSTGRES, name=name)
        self.tmpfs.mount(cluster.folder)
        cluster.create()
        if near_wrap:
            move_near_wrap(cluster)
        return cluster

    def _world(self):
        self.world = world = ChaosWorld(self.sender, self.kafka, NAME, {"orders": 4, "bills": 2})
        self.small = world.topic("small", 2, max_message_bytes=3000)
        self.loose = world.topic("loose", 2)
        self.mortal = f"{NAME}.mortal"
        self.kafka.create_topic(self.mortal, 1)
        self.database = world.database
        if self.plan.lanes > 1:
            self.database.execute("SELECT once.set_lanes(%s)", (self.plan.lanes,))
        self.database.execute("UPDATE once.lane SET generation_rows = 400")
        self.bank = bank.Bank(self.database, [t for t in world.topics if t != self.loose], loose=self.loose,
                              lanes=self.plan.lanes, keys=12, seed=self.plan.seed)
        world.work = self.bank
        self.wires = {"sender": DatabaseProxy(self.sender.port), "receiver": DatabaseProxy(self.receiver.port)}

    def _relays(self):
        env = {**OUTBOX, **NamedClients.ENVIRONMENT, "ONCE_OUTBOX_PRODUCERS": str(self.plan.producers)}
        dsn = self.wires["sender"].dsn(NAME, RELAY_ROLE)
        self.outbox = [Daemon(f"outbox-{n}", self.world.relay(*RELAY, database=dsn, brokers=self.kafka.proxied, env=env),
                              self.tally) for n in (0, 1)]
        self.box = Inbox(self.receiver, self.kafka, NAME, partitions=1, max_rows=50, max_attempts=2,
                         topic=f"^{NAME}[.](orders|bills|small|loose)$")
        self.inbox = []
        for n in (0, 1):
            relay = self.box.relay(*RELAY, "--set", "kafka.max.poll.interval.ms=6000", brokers=self.kafka.proxied)
            relay.env = NamedClients.ENVIRONMENT
            relay.dsn = self.wires["receiver"].dsn(self.box.database.name, RELAY_ROLE)
            self.inbox.append(Daemon(f"inbox-{n}", relay, self.tally))
        self.daemons = self.outbox + self.inbox
        self.live = self.kafka.follow(*self.world.topics)
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def _watch(self):
        while not self.watching.is_set():
            for daemon in self.daemons:
                daemon.watch()
            time.sleep(0.1)

    def births(self):
        """The first start of a lane and of a group has crash points of its own, which no later start passes."""
        self.bank.start(THREADS, pause=self.pause_seconds)
        for daemon, points in ((self.outbox[0], BIRTHS["outbox"]), (self.inbox[0], BIRTHS["inbox"])):
            daemon.next_envs = [{"ONCE_CRASH_AT": point} for point in points]
            daemon.up()
            wait_until(f"{daemon.name} dies at {' and '.join(points)}",
                       lambda points=points: all(point in self.tally.points for point in points), 180, 0.1)
        for daemon in self.daemons:
            daemon.up()
        self.positions = self.kafka.follow(self.world.position_topic)

    def active(self):
        """The outbox relay that ships, else the first."""
        for daemon in self.outbox:
            if daemon.running and daemon.relay.state() == "running":
                return daemon
        return self.outbox[0]

    def heal(self):
        """Whatever a fault left behind. Each heals itself; this is for those that could not."""
        for proxy in self.proxies:
            proxy.clear()
        for wire in self.wires.values():
            wire.heal()
        for node in self.kafka.nodes:
            node.process.resume()
            if not node.process.alive():
                node.start(wait=False)
        for node in self.kafka.nodes:
            node.wait_ready()
        for cluster in (self.sender, self.receiver):
            cluster.resume()
            if not cluster.process.alive():
                cluster.start()
        for daemon in self.daemons:
            daemon.resume()
            daemon.not_before = 0.0
        self.bank.paused.clear()
        self._heal_contents()

    def deny(self, *right):
        self.kafka.allow(NamedClients.USER, *right, permission="deny")
        self.denied.append(right)

    def give_back(self):
        while self.denied:
            self.kafka.disallow(NamedClients.USER, *self.denied[-1], permission="deny")
            self.denied.pop()

    def _heal_contents(self):
        tools = self.kafka.tools
        self.give_back()
        for (name,) in self.database.query("SELECT gid FROM pg_prepared_xacts"):
            self.database.execute("COMMIT PREPARED %s", (name,))
        for topic in self.world.topics:
            tools.run("alter_topic", topic=topic, settings={"min.insync.replicas": "2"})
        tools.run("alter_topic", topic=self.small, settings={"max.message.bytes": "100000"})
        if self.mortal not in tools.run("list_topics"):
            self.kafka.create_topic(self.mortal, 1)
        self.database.execute("SELECT once.redrive_all()")
        self.box.database.execute("DELETE FROM app.bad")
        self.box.database.execute("SELECT once.inbox_redrive('billing')")

    def hurt(self):
        """What is not healed while faults are about."""
        self.kafka.tools.run("alter_topic", topic=self.small, settings={"max.message.bytes": "3000"})

    def published(self):
        return self.database.value("SELECT count(*) FROM app_truth")

    def applied(self):
        return self.box.applied()

    def settle(self, timeout=180):
        """Writers ended, all healed: everything committed is at Kafka (P26) and applied, by the relays alone."""
        self.bank.stop()
        self.heal()
        total = self.published()
        wait_until("everything is at Kafka", lambda: self._empty() or self.heal_dead_letters(), timeout, 0.5)
        mortal = self.database.value("SELECT count(*) FROM app_truth WHERE topic = %s", (self.mortal,))
        wait_until("the live reader has seen everything", lambda: self.live.count() >= total - mortal, timeout, 0.2)
        wait_until("everything is applied", lambda: self.applied() >= total - mortal, timeout, 0.5)

    def heal_dead_letters(self):
        self.database.execute("SELECT once.redrive_all()")
        self.box.database.execute("SELECT once.inbox_redrive('billing')")

    def _empty(self):
        backlog = self.active().relay.metric("once_outbox_backlog_events")
        waiting = self.database.value("SELECT count(*) FROM once.dead_letter WHERE stamp IS NULL")
        return backlog == 0 and waiting == 0

    def end(self):
        """Every relay ends cleanly when asked."""
        self.watching.set()
        self.watcher.join()
        for daemon in self.daemons:
            daemon.down()
        self.live_messages = self.live.stop()
        self.world.witness = self.positions.stop()

    def stop(self):
        self.watching.set()
        if self.bank:
            self.bank.stopping.set()
        for daemon in self.daemons:
            daemon.wanted = False
            if daemon.relay.process:
                daemon.relay.process.kill()
        for cluster in (self.sender, self.receiver, self.standby):
            if cluster and cluster.process and cluster.process.alive():
                cluster.resume()
                cluster.stop("immediate")
        for wire in (*self.wires.values(), *self.proxies):
            wire.close()
        if self.kafka:
            self.kafka.stop()
