"""A transaction pooler in little: two server sessions shared by all clients, given away at each end of a transaction.

Just enough of the protocol for libpq: the client is told made-up identity data at once, then its messages go to a
server session until that is idle again; the session used last is given first, as PgBouncer does.
"""
import os
import socket
import struct
import threading


class Pooler:
    def __init__(self, host, port, user, database, sessions=2, shared=True):
        self.server = f"{host}/.s.PGSQL.{port}"
        self.startup = {"user": user, "database": database}
        self.shared = shared  # False: a client keeps its session, as in session mode
        self.free = []
        self.ready = threading.Condition()
        self.greeting = b""
        for _ in range(sessions):
            self.free.append(self._connect())
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(8)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def dsn(self):
        return f"host=127.0.0.1 port={self.port} sslmode=disable gssencmode=disable " + \
            " ".join(("dbname" if name == "database" else name) + f"={value}" for name, value in self.startup.items())

    def close(self):
        self.listener.close()
        for session in self.free:
            session.close()

    def _connect(self):
        session = socket.socket(socket.AF_UNIX)
        session.connect(self.server)
        pairs = b"".join(f"{name}\0{value}\0".encode() for name, value in self.startup.items()) + b"\0"
        session.sendall(struct.pack("!ii", len(pairs) + 8, 196608) + pairs)
        greeting = b""
        while True:
            kind, body = receive(session)
            if kind == b"E":
                raise RuntimeError(body)
            if kind == b"S":
                greeting += pack(kind, body)
            if kind == b"Z":
                self.greeting = greeting
                return session

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        session = None
        try:
            size, = struct.unpack("!i", exactly(client, 4))
            exactly(client, size - 4)
            identity = struct.pack("!ii", 1_000_000 + int.from_bytes(os.urandom(2), "big"), 1)
            client.sendall(pack(b"R", struct.pack("!i", 0)) + self.greeting + pack(b"K", identity) + pack(b"Z", b"I"))
            while True:
                kind, body = receive(client)
                if kind == b"X":
                    return
                session = session or self._take()
                session.sendall(pack(kind, body))
                if kind in b"QS" and self._answer(session, client) == b"I" and self.shared:
                    session = self._give(session)
        except (OSError, EOFError):
            pass
        finally:
            client.close()
            if session:
                session.sendall(pack(b"Q", b"ROLLBACK\0"))
                while receive(session)[0] != b"Z":
                    pass
                self._give(session)

    def _answer(self, session, client):
        while True:
            kind, body = receive(session)
            client.sendall(pack(kind, body))
            if kind == b"Z":
                return body

    def _take(self):
        with self.ready:
            self.ready.wait_for(lambda: self.free)
            return self.free.pop()

    def _give(self, session):
        with self.ready:
            self.free.append(session)
            self.ready.notify()


def exactly(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def receive(connection):
    kind = exactly(connection, 1)
    size, = struct.unpack("!i", exactly(connection, 4))
    return kind, exactly(connection, size - 4)


def pack(kind, body):
    return kind + struct.pack("!i", len(body) + 4) + body
