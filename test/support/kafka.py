"""Real Apache Kafka brokers (KRaft) from the cached jars, and Kafka's own tools and reader for them."""
import base64
import json
import os
import signal
import socket
import subprocess
import threading
import uuid
from collections import namedtuple
from pathlib import Path

from .process import TOP, Process, free_port, temporary_folder, wait_until
from .transaction_checker import Transaction, source_of

KAFKA_HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pg_once/kafka-4.1.0"
CLASSES = TOP / "build/java"
CLASSPATH = f"{CLASSES}:{KAFKA_HOME}/libs/*"
LOG4J = f"-Dlog4j2.configurationFile={Path(__file__).parent / 'java/log4j2.properties'}"
FLEETING = ["-XX:TieredStopAtLevel=1"]  # a JVM that does not live long enough to gain from optimising
JAVA = ["java", "-XX:+UseSerialGC", "-XX:-UsePerfData", LOG4J]

Message = namedtuple("Message", "topic partition offset timestamp key value headers")


class Node:
    """One broker and controller in one process. It has two listeners: PLAINTEXT, whose address clients are told as
    it is, and PROXIED, whose advertised port is `proxy_port`, where a Proxy may listen. With a Security there are two
    more, both at localhost: SECURED at `secured_port` asks for a password, MUTUAL at `mutual_port` for a certificate."""

    def __init__(self, cluster, number):
        self.cluster = cluster
        self.number = number
        self.port, self.proxied_port, self.proxy_port, self.controller_port, self.secured_port, self.mutual_port = (
            free_port() for _ in range(6))
        self.folder = cluster.folder / f"node{number}"
        self.process = None

    def write_configuration(self):
        self.folder.mkdir()
        nodes = self.cluster.nodes
        copies = min(3, len(nodes))
        secured = self.cluster.security is not None
        settings = {
            "process.roles": "broker,controller", "node.id": self.number,
            "controller.quorum.voters": ",".join(f"{n.number}@127.0.0.1:{n.controller_port}" for n in nodes),
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},PROXIED://127.0.0.1:{self.proxied_port},"
                         f"CONTROLLER://127.0.0.1:{self.controller_port}"
                         + (f",SECURED://127.0.0.1:{self.secured_port},MUTUAL://127.0.0.1:{self.mutual_port}" if secured else ""),
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port},PROXIED://127.0.0.1:{self.proxy_port}"
                                    + (f",SECURED://localhost:{self.secured_port},MUTUAL://localhost:{self.mutual_port}"
                                       if secured else ""),
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL,MUTUAL:SSL",
            "controller.listener.names": "CONTROLLER", "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self.folder / "data", "auto.create.topics.enable": "false", "num.partitions": 4,
            "default.replication.factor": copies, "min.insync.replicas": max(1, copies - 1),
            "offsets.topic.replication.factor": copies, "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": max(1, copies - 1), "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": max(1, copies - 1),
            "group.initial.rebalance.delay.ms": 0, "group.min.session.timeout.ms": 1000,
            "controlled.shutdown.enable": len(nodes) > 1,
            "broker.session.timeout.ms": 3000, "broker.heartbeat.interval.ms": 500,
            "replica.lag.time.max.ms": 3000, **self.cluster.settings,
            **(self.cluster.security.broker_settings() if secured else {}),
        }
        text = "".join(f"{name}={str(value).lower() if isinstance(value, bool) else value}\n"
                       for name, value in settings.items())
        (self.folder / "server.properties").write_text(text)

    def format(self):
        security = self.cluster.security
        return subprocess.Popen([*JAVA, *FLEETING, "-cp", CLASSPATH, "kafka.tools.StorageTool", "format", "-t",
                                 self.cluster.identity, "-c", str(self.folder / "server.properties"),
                                 *(security.format_words() if security else [])],
                                stdin=subprocess.DEVNULL, stdout=open(self.folder / "format.log", "wb"),
                                stderr=subprocess.STDOUT)

    def start(self, wait=True, env=None):
        self.process = Process([*JAVA, f"-Xmx{self.cluster.heap}", *self.cluster.java, "-cp", CLASSPATH, "kafka.Kafka",
                                self.folder / "server.properties"], log=self.folder / "server.log",
                               keep=self.cluster.keep, env=env)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=120):
        wait_until(f"broker {self.number} listens", self.listens, timeout, 0.05)

    def listens(self):
        if not self.process.alive():
            raise RuntimeError(f"the broker did not start:\n{self.process.log()[-3000:]}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        self.process.stop(signal.SIGTERM, 30)

    def kill(self):
        self.process.kill()

    def restart(self):
        self.stop()
        self.start()


class Kafka:
    """A cluster of one or three nodes. `brokers` is for clients, `proxied` leads through the proxy ports, `secured` and
    `mutual` are there with a Security."""

    def __init__(self, nodes=1, *, settings=None, heap="512m", java=(), keep=False, security=None):
        self.java = java
        self.keep = keep
        self.heap = heap
        self.settings = settings or {}
        self.security = security
        self.folder = temporary_folder("kafka")
        # Kafka's own ids never begin with "-" either: StorageTool would take it for an option.
        self.identity = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        self.nodes = [Node(self, number) for number in range(1, nodes + 1)]
        self.brokers = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        self.proxied = ",".join(f"127.0.0.1:{node.proxy_port}" for node in self.nodes)
        self.secured = ",".join(f"localhost:{node.secured_port}" for node in self.nodes)
        self.mutual = ",".join(f"localhost:{node.mutual_port}" for node in self.nodes)
        self.tools = None

    def start(self):
        for node in self.nodes:
            node.write_configuration()
        for node, formatting in [(node, node.format()) for node in self.nodes]:
            if formatting.wait(180):
                raise RuntimeError((node.folder / "format.log").read_text())
        for node in self.nodes:
            node.start(wait=False)
        self.tools = Tools(self)
        for node in self.nodes:
            node.wait_ready()
        wait_until("all brokers registered", self._registered, 120, 0.2)
        return self

    def _registered(self):
        try:
            return len(self.tools.run("nodes")) == len(self.nodes)
        except RuntimeError:  # several brokers that start at once on a busy machine outlast the client's own time limit
            return False

    def stop(self):
        if self.tools:
            self.tools.process.kill()
        for node in self.nodes:
            if node.process and not self.keep:
                node.process.kill()

    def create_topic(self, topic, partitions=4, **settings):
        self.tools.run("create_topic", topic=topic, partitions=partitions,
                       settings={name.replace("_", "."): str(value) for name, value in settings.items()})
        wait_until(f"brokers know topic {topic}", lambda: topic in self.tools.run("list_topics"), 30, 0.05)

    def allow(self, user, operation, kind, name, pattern="literal", permission="allow"):
        """An ACL: kind topic, group, transactional_id or cluster; operation read, write, describe, …"""
        self.tools.run("allow", user=user, operation=operation, kind=kind, name=name, pattern=pattern, permission=permission)

    def disallow(self, user, operation, kind, name, pattern="literal", permission="allow"):
        self.tools.run("disallow", user=user, operation=operation, kind=kind, name=name, pattern=pattern, permission=permission)

    def read(self, *topics, isolation="read_committed", timeout=120):
        """Everything that stands in the topics, in log order per partition, through Kafka's own client."""
        file = self.folder / f"read-{uuid.uuid4().hex}.jsonl"
        self.tools.run("read", topics=list(topics), isolation=isolation, file=str(file), timeout_ms=timeout * 1000)
        try:
            return list(parse(file))
        finally:
            file.unlink()

    def transactions(self, positions):
        """What the coordinators wrote down of the two transactional ids of each lane that has a record among `positions`."""
        ids = [f"once-{source.replace('/', '-')}-{number}" for source in {source_of(record) for record in positions} for number in (0, 1)]
        return [Transaction(row["id"], row["producer"], row["epoch"], row["state"], tuple(row["topics"]))
                for row in self.tools.run("transaction_log", ids=ids)]

    def ends(self, *topics):
        """(topic, partition) → the offset that the next message gets."""
        return {(topic, int(partition)): end for topic in topics
                for partition, end in self.tools.run("end_offsets", topic=topic).items()}

    def follow(self, *topics, isolation="read_committed"):
        return Follower(self, topics, isolation)

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()


class Tools:
    """Kafka's admin client in a JVM that stays: one command, one answer. Safe to use from several threads."""

    def __init__(self, kafka):
        self.kafka = kafka
        self.lock = threading.Lock()
        self.process = Process([*JAVA, "-Xmx512m", *FLEETING, "-cp", CLASSPATH, "Tools"],
                               log=kafka.folder / "tools.log", stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, command, **arguments):
        request = json.dumps({"do": command, "brokers": self.kafka.brokers, **arguments})
        with self.lock:
            self.process.popen.stdin.write(request.encode() + b"\n")
            self.process.popen.stdin.flush()
            line = self.process.popen.stdout.readline()
        if not line:
            raise RuntimeError(f"the Kafka tools ended:\n{self.process.log()[-3000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{command} {arguments}: {answer['error']}")
        return answer["ok"]


class Follower:
    """A live reader: what a consumer saw while it happened, in the order in which it saw it."""

    def __init__(self, kafka, topics, isolation):
        self.file = kafka.folder / f"follow-{uuid.uuid4().hex}.jsonl"
        self.counted, self.read_to = 0, 0
        self.lock = threading.Lock()
        with open(self.file, "wb") as output:
            self.process = Process([*JAVA, "-Xmx256m", *FLEETING, "-cp", CLASSPATH, "Reader",
                                    kafka.brokers, isolation, "follow", *topics],
                                   log=kafka.folder / "follow.log", stdout=output)

    def messages(self):
        return list(parse(self.file))

    def count(self):
        """Asked many times a second, by several threads: reads only what came since."""
        with self.lock, open(self.file, "rb") as lines:
            lines.seek(self.read_to)
            for chunk in iter(lambda: lines.read(1 << 20), b""):
                self.counted += chunk.count(b"\n")
                self.read_to += len(chunk)
        return self.counted

    def stop(self):
        self.process.stop()
        return self.messages()


def parse(file):
    """Messages of one reader's output; a last line that is not complete (it was killed) is left out."""
    decode = base64.b64decode
    with open(file, "rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            row = json.loads(line)
            yield Message(row["topic"], row["partition"], row["offset"], row["timestamp"],
                          None if row["key"] is None else decode(row["key"]),
                          None if row["value"] is None else decode(row["value"]),
                          [(decode(name).decode(), None if value is None else decode(value))
                           for name, value in row["headers"]])
