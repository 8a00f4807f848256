"""A database server on a host that can vanish: no FIN, no RST, as when its power is cut or a firewall drops.

The host is a network namespace with a forwarder to the server's unix socket in it; it vanishes when its link goes down.
"""
import os
import subprocess
import sys

from .process import Process, temporary_folder, wait_until

FORWARDER = r"""
import socket, sys, threading
address, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def pump(source, target):
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

listener = socket.create_server((address, port))
print("ready", file=sys.stderr, flush=True)
while True:
    client, _ = listener.accept()
    server = socket.socket(socket.AF_UNIX)
    server.connect(path)
    for ends in ((client, server), (server, client)):
        threading.Thread(target=pump, args=ends, daemon=True).start()
"""


class VanishingHost:
    """Use as a context; `possible()` says whether this machine lets us make one."""

    def __init__(self, socket_path):
        self.name = f"once{os.getpid() % 100000}"
        self.subnet = f"10.213.{os.getpid() % 250}"
        self.socket_path = socket_path
        self.port = 5432
        self.forwarder = None

    @staticmethod
    def possible():
        return os.getuid() == 0 and subprocess.run(["ip", "link", "add", "onceprobe", "type", "veth"], capture_output=True,
                                                   check=False).returncode == 0 and not ip("link", "del", "onceprobe")

    def __enter__(self):
        ip("netns", "add", self.name)
        ip("link", "add", f"{self.name}h", "type", "veth", "peer", "name", f"{self.name}n", "netns", self.name)
        ip("addr", "add", f"{self.subnet}.1/30", "dev", f"{self.name}h")
        ip("link", "set", f"{self.name}h", "up")
        ip("-n", self.name, "addr", "add", f"{self.subnet}.2/30", "dev", f"{self.name}n")
        ip("-n", self.name, "link", "set", f"{self.name}n", "up")
        self.forwarder = Process(["ip", "netns", "exec", self.name, sys.executable, "-c", FORWARDER, f"{self.subnet}.2", self.port,
                                  self.socket_path], log=temporary_folder("host") / "log")
        wait_until("the forwarder listens", lambda: "ready" in self.forwarder.log(), 10)
        return self

    def __exit__(self, *unused):
        if self.forwarder:
            self.forwarder.kill()
        ip("netns", "del", self.name)  # and the link with it

    def dsn(self, database, user):
        return f"host={self.subnet}.2 port={self.port} user={user} dbname={database} sslmode=disable gssencmode=disable"

    def vanish(self):
        ip("link", "set", f"{self.name}h", "down")

    def return_(self):
        ip("link", "set", f"{self.name}h", "up")


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)
