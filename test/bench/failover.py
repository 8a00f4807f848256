"""From SIGKILL of the relay to the next message at a read_committed reader: restarted at once, and with a standby.

A message counts when it was published after the kill. 20 kills, each of them shown in the worst.
"""
import base64
import json
import threading
import time

from support.relay import Relay

from bench.servers import cluster, kafka, scale


def publish_until(database, stop, every=0.005):
    with database.cluster.session(database.name) as cursor:
        while not stop.is_set():
            cursor.execute("SELECT once.publish_text('failover', %s, key => 'k')", (f"{time.time():.6f}",))
            time.sleep(every)


def next_after(reader, killed, timeout=60):
    """Seconds until the reader shows a message that was published after the kill."""
    with open(reader.file, "rb") as lines:
        lines.seek(max(0, reader.file.stat().st_size - 65536))
        rest = b""
        while time.time() - killed < timeout:
            *complete, rest = (rest + lines.read()).split(b"\n")
            for line in complete:
                if line.startswith(b"{") and float(base64.b64decode(json.loads(line)["value"])) > killed:
                    return time.time() - killed
            time.sleep(0.005)
    raise RuntimeError(f"nothing came within {timeout} s after the kill")


def restarted(database, broker, kills):
    stalls = []
    reader = broker.follow("failover")
    relay = Relay(database, broker.brokers).start()
    try:
        for _ in range(kills):
            next_after(reader, time.time())
            time.sleep(1)
            killed = time.time()
            relay.kill()
            relay.start()
            stalls.append(next_after(reader, killed))
    finally:
        relay.kill()
        reader.stop()
    return stalls


def with_standby(database, broker, kills):
    stalls = []
    reader = broker.follow("failover")
    active, standby = Relay(database, broker.brokers).start(), Relay(database, broker.brokers)
    try:
        for _ in range(kills):
            next_after(reader, time.time())
            standby.start()
            time.sleep(2)
            killed = time.time()
            active.kill()
            stalls.append(next_after(reader, killed))
            active, standby = standby, active
    finally:
        active.kill()
        if standby.process:
            standby.kill()
        reader.stop()
    return stalls


def bench(report):
    kills = scale("BENCH_KILLS", 20)
    with cluster() as server, kafka() as broker:
        database = server.create_database("failover")
        broker.create_topic("failover", 4)
        stop = threading.Event()
        writer = threading.Thread(target=publish_until, args=(database, stop), daemon=True)
        writer.start()
        try:
            for what, measure in (("restarted at once", restarted), ("standby waits", with_standby)):
                stalls = sorted(measure(database, broker, kills))
                report.add("failover", f"{what}: median of {kills} kills", stalls[len(stalls) // 2], "s")
                report.add("failover", f"{what}: worst of {kills} kills", stalls[-1], "s", None, "every one below 2",
                           stalls=stalls)
        finally:
            stop.set()
            writer.join()
