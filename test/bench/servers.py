"""The servers of a bench, set up as a careful operator would, and the load that pgbench puts on them."""
import json
import os
import subprocess
import threading
import time

from support.kafka import Kafka
from support.postgres import Cluster
from support.process import STAGED_BIN, TOP, temporary_folder

# Durable settings stay on: a bench that switches fsync off measures another product.
SETTINGS = """
fsync = on
shared_buffers = 512MB
max_wal_size = 8GB
checkpoint_timeout = 30min
"""
PROGRAMS = TOP / "build/bench"


def cluster():
    return Cluster(SETTINGS, name="bench").create().start()


def kafka():
    return Kafka(heap="1g", settings={"log.retention.ms": -1})


def program(name, **arguments):
    """One of our C++ programs to its end; its one line of JSON."""
    words = [str(PROGRAMS / name)]
    for key, value in arguments.items():
        words += [f"--{key.replace('_', '-')}", str(value)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout) if done.stdout else None


def start_program(name, **arguments):
    words = [str(PROGRAMS / name)]
    for key, value in arguments.items():
        words += [f"--{key.replace('_', '-')}", str(value)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def pgbench(database, script, *, clients, seconds=None, transactions=None, rate=None, threads=2, tail=False):
    """Runs a pgbench script; returns transactions a second. `tail`: start only, return the process."""
    folder = temporary_folder("pgbench")
    file = folder / "script.sql"
    file.write_text(script)
    words = [str(STAGED_BIN / "pgbench"), "-n", "-M", "prepared", "-f", str(file), "-c", str(clients),
             "-j", str(min(threads, clients)), "-h", str(database.cluster.folder), "-p", str(database.cluster.port),
             "-U", "postgres", database.name]
    words += ["-T", str(seconds)] if seconds else ["-t", str(transactions)]
    words += ["-R", str(rate)] if rate else []
    if tail:
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pgbench: {done.stderr[-2000:]}")
    return float(next(line.split()[2] for line in done.stdout.splitlines() if line.startswith("tps")))


class Peak:
    """Watches a process's resident memory: VmHWM is the kernel's own high-water mark."""

    def __init__(self, pid):
        self.pid = pid
        self.megabytes = 0.0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        while not self.done.wait(0.05):
            self._read()

    def _read(self):
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
                for line in status:
                    if line.startswith("VmHWM:"):
                        self.megabytes = max(self.megabytes, int(line.split()[1]) / 1024)
        except OSError:
            pass

    def stop(self):
        self._read()
        self.done.set()
        self.thread.join()
        return self.megabytes


def seconds_since(start):
    return time.monotonic() - start


def scale(name, otherwise):
    return int(os.environ.get(name, otherwise))
