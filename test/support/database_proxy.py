"""A user-space TCP proxy in front of a PostgreSQL server: a network that stalls, is slow, or ends in mid-message.

`target` may be changed while it runs: that is how clients find the server that was promoted.
"""
import socket
import threading
import time

CHUNK = 1 << 14


class DatabaseProxy:
    def __init__(self, port):
        self.target = port
        self.flows = {way: threading.Event() for way in ("request", "response")}  # cleared: nothing gets through, nobody is told
        self.flow()
        self.slow_s = 0.0
        self.cut_in = None  # bytes until every connection is cut, in the middle of whatever it is
        self.cut_way = "both"  # whose bytes are counted
        self.lock = threading.Lock()
        self.open = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def dsn(self, database, user):
        return f"host=127.0.0.1 port={self.port} user={user} dbname={database} sslmode=disable gssencmode=disable"

    def heal(self):
        self.slow_s, self.cut_in = 0.0, None
        self.flow()

    def flow(self):
        for flows in self.flows.values():
            flows.set()

    def stall(self, way="both"):
        """Both ways, or only one: an answer that is lost, to what was done all the same."""
        for name, flows in self.flows.items():
            if way in ("both", name):
                flows.clear()

    def cut_after(self, size, way="both"):
        with self.lock:
            self.cut_in, self.cut_way = size, way

    def cut_all(self):
        with self.lock:
            pairs, self.open = self.open, set()
        for pair in pairs:
            for end in pair:
                close(end)

    def close(self):
        close(self.listener)
        self.heal()
        self.cut_all()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 5)
                server.settimeout(None)
            except OSError:
                close(client)
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:  # from here on cut_all may close them
                self.open.add((client, server))
            for ends in ((client, server, "request"), (server, client, "response")):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source, target, way):
        try:
            while data := source.recv(CHUNK):
                if self.slow_s:
                    time.sleep(self.slow_s)
                self.flows[way].wait()
                data, last = self._cut(data, way)
                target.sendall(data)
                if last:
                    self.cut_all()
        except OSError:
            pass
        close(source)
        close(target)
        with self.lock:
            self.open = {pair for pair in self.open if source not in pair}

    def _cut(self, data, way):
        with self.lock:
            if self.cut_in is None or self.cut_way not in ("both", way):
                return data, False
            self.cut_in -= len(data)
            if self.cut_in > 0:
                return data, False
            keep, self.cut_in = len(data) + self.cut_in, None
            return data[:max(keep, 0)], True


def close(end):
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()
