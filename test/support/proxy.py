"""A user-space TCP proxy that understands Kafka's framing: faults on the wire by ApiKey and direction.

Each frame is 4 bytes of length and then, for a request, ApiKey and ApiVersion (2 bytes each) and a correlation id
(4 bytes) with which its response begins. Clients come here because a broker's PROXIED listener advertises our port.
A held request is delivered when released even if the client gave up and closed meanwhile: that is the fault that
tears transactions (a late EndTxn).
"""
import socket
import struct
import threading
import time

PRODUCE, FETCH, METADATA, INIT_PRODUCER_ID, ADD_PARTITIONS, END_TXN = 0, 1, 3, 22, 24, 26


STEPS = {ADD_PARTITIONS: "begin", END_TXN: "end"}


class Rule:
    """What happens to the next `count` frames that match, after `skip` of them. Actions: hold (until release), delay,
    drop, cut (the connection ends in the middle of the frame),
    reconnect (it ends behind the frame: what was asked is done, and the client asks again on another connection). `where` looks into the frame's bytes."""

    def __init__(self, action, api, direction, count, seconds, skip, where):
        self.action = action
        self.api = api
        self.direction = direction
        self.left = count
        self.skip = skip
        self.where = where
        self.seconds = seconds
        self.caught = threading.Event()
        self.released = threading.Event()
        self.frames = 0

    def release(self):
        self.left = 0
        self.released.set()

    def wait_caught(self, timeout):
        if not self.caught.wait(timeout):
            raise TimeoutError(f"no {self.direction} with ApiKey {self.api} within {timeout} s")


class Proxy:
    """One listening port in front of one broker node's PROXIED listener."""

    def __init__(self, node):
        self.target = ("127.0.0.1", node.proxied_port)
        self.rules = []
        self.lock = threading.Lock()
        self.link = threading.Lock()
        self.open = set()
        self.seen = {}
        self.bytes_per_second = None  # of all requests together; None: no limit
        self.transactional = []  # what transaction_checker.check_ends wants, in the order in which clients sent it
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", node.proxy_port))
        self.listener.listen(64)
        self.address = f"127.0.0.1:{node.proxy_port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def rule(self, action, api=None, direction="request", count=1, seconds=0.0, skip=0, where=None):
        made = Rule(action, api, direction, count, seconds, skip, where)
        with self.lock:
            self.rules.append(made)
        return made

    def hold(self, api, direction="request", **options):
        return self.rule("hold", api, direction, **options)

    def delay(self, seconds, api=None, direction="request", count=1 << 60):
        return self.rule("delay", api, direction, count, seconds)

    def clear(self):
        with self.lock:
            rules, self.rules = self.rules, []
        for rule in rules:
            rule.release()

    def count(self, api, direction="request"):
        return self.seen.get((api, direction), 0)

    def cut_all(self):
        """Every connection ends now; new ones are accepted."""
        with self.lock:
            pairs, self.open = self.open, set()
        for pair in pairs:
            for end in pair:
                _close(end)

    def close(self):
        _close(self.listener)
        self.clear()
        self.cut_all()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target, 5)
                server.settimeout(None)
            except OSError:
                _close(client)
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.open.add((client, server))
            asked = {}
            for source, target, direction in ((client, server, "request"), (server, client, "response")):
                threading.Thread(target=self._pump, args=(source, target, direction, asked), daemon=True).start()

    def _pump(self, source, target, direction, asked):
        try:
            while True:
                head = _read(source, 4)
                body = _read(source, struct.unpack(">i", head)[0])
                if direction == "request":
                    api, correlation = struct.unpack(">h2xi", body[:8])
                    asked[correlation] = api
                    if api in STEPS:
                        self.transactional.append((time.monotonic(), STEPS[api], *_owner(body)))
                else:
                    api = asked.pop(struct.unpack(">i", body[:4])[0], None)
                self.seen[(api, direction)] = self.seen.get((api, direction), 0) + 1
                if not self._forward(api, direction, head + body, target):
                    break
        except OSError:
            pass
        if direction == "response":
            _close(target)
            _close(source)
            return
        # Only half: a request that was held is still to be read by the broker, which then closes its side.
        try:
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _forward(self, api, direction, frame, target):
        rule = self._match(api, direction, frame)
        if rule:
            rule.frames += 1
            rule.caught.set()
            if rule.action == "drop":
                return True
            if rule.action == "cut":
                target.sendall(frame[:len(frame) // 2])
                return False
            if rule.action == "reconnect":
                target.sendall(frame)
                return False
            if rule.action == "delay":
                time.sleep(rule.seconds)
            else:
                rule.released.wait()
        if direction == "request" and self.bytes_per_second:
            with self.link:
                for start in range(0, len(frame), 16384):
                    part = frame[start:start + 16384]
                    time.sleep(len(part) / self.bytes_per_second)
                    target.sendall(part)
            return True
        target.sendall(frame)
        return True

    def _match(self, api, direction, frame):
        with self.lock:
            for rule in self.rules:
                if (rule.direction == direction and rule.api in (None, api) and rule.left > 0
                        and (rule.where is None or rule.where(frame))):
                    if rule.skip > 0:
                        rule.skip -= 1
                        continue
                    rule.left -= 1
                    return rule
        return None


def _owner(body):
    """Transactional id, producer id and epoch, with which both requests begin; before version 3, as librdkafka sends them."""
    version, client = struct.unpack(">2xh4xh", body[:10])
    assert version < 3, f"a request of version {version}"
    at = 10 + max(client, 0)
    end = at + 2 + struct.unpack_from(">h", body, at)[0]
    return body[at + 2:end].decode(), *struct.unpack_from(">qh", body, end)


def _read(source, size):
    parts = []
    while size:
        part = source.recv(min(size, 1 << 20))
        if not part:
            raise OSError("closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _close(end):
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    end.close()
