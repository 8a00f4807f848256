"""A history as a correct relay leaves it, made from a seed: what test/e2e/test_checker.py damages in every way."""
import json
import random

from . import checker
from .checker import History, Intent, Reported, Row, digest, murmur2
from .kafka import Message
from .transaction_checker import Transaction

SOURCE = "11111111-2222-3333-4444-555555555555/0"
IDS = [f"once-{SOURCE.replace('/', '-')}-{number}" for number in (0, 1)]
TOPICS = {"orders": 4, "bills": 2}


class Builder:
    """A history as a correct relay leaves it: transactions overlap, differences of snapshots, some read in slices. For a
    while events of one key are put aside, and then shipped again."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.history = History(partitions=dict(TOPICS), reports=[])
        self.offsets = {}
        self.counter = 0
        self.versions = {}
        self.seq = 0
        self.xid = 100
        self.running = {}
        self.held, self.aside, self.redrive_no = None, [], 0
        self.value = {}  # of the last position

    def build(self, batches=30):
        self.start(0)  # it died before it did anything
        self.start(1)
        snapshot = "3:3:"
        self.position(None, snapshot, None)
        shipped = set()
        for batch in range(batches):
            self.write()
            if batch == batches // 3:
                self.held = ("orders", b"k1")
            if batch >= batches * 2 // 3 and self.held and len(self.aside) > 1:
                self.redrive()
            now = self.snapshot()
            seen = checker.Snapshot(now)
            rows = sorted((row for row in self.history.rows if row.id not in shipped and seen.sees(row.xid)),
                          key=lambda row: row.seq)
            self.ship(rows, snapshot, now)
            self.report()
            shipped |= {row.id for row in rows}
            snapshot = now
        for xid in list(self.running):
            self.finish(xid)
        now = self.snapshot()
        assert self.redrive_no == 2
        self.ship([row for row in self.history.rows if row.id not in shipped], snapshot, now)
        self.history.live = [list(self.history.final[:len(self.history.final) // 2])]
        return self.history

    def write(self):
        """Transactions with one key each; the key is locked from its event to the transaction's end."""
        for _ in range(self.chance.randint(1, 8)):
            taken = {name for name, _ in self.running.values()}
            names = [(topic, f"k{n}".encode()) for topic in TOPICS for n in range(6)]
            name = self.chance.choice([name for name in names if name not in taken])
            self.running[self.xid] = (name, [self.event(name) for _ in range(self.chance.randint(1, 3))])
            self.xid += 1
            if len(self.running) > 5 or self.chance.random() < 0.8:
                self.finish(self.chance.choice(list(self.running)))

    def event(self, name):
        self.seq += 1
        version = self.versions[name] = self.versions.get(name, 0) + 1
        return self.seq, f"id-{self.seq}", f"payload {version}".encode(), version

    def finish(self, xid):
        (topic, key), events = self.running.pop(xid)
        outcome = "committed" if self.chance.random() < 0.9 else "rolled back"
        if outcome == "rolled back":
            self.versions[(topic, key)] -= len(events)
        for seq, identity, payload, version in events:
            self.history.intents.append(Intent(identity, topic, key, digest(payload), outcome, version, headers=()))
            if outcome == "committed":
                self.history.rows.append(Row(0, seq, xid, identity, topic, key, digest(payload)))
        self.history.rows.sort(key=lambda row: row.seq)

    def snapshot(self):
        running = sorted(self.running)
        return f"{min(running, default=self.xid)}:{self.xid}:{','.join(map(str, running))}"

    def ship(self, rows, before, now):
        rows = sorted(rows, key=lambda row: row.seq)
        while len(rows) > 4:
            self.messages(rows[:3])
            self.position(before, now, rows[2].seq, rows[2])
            rows = rows[3:]
        self.messages(rows)
        self.position(before, now, None, rows[-1] if rows else None)

    def report(self):
        self.history.reports.append(Reported(0, {"incarnation": SOURCE.split("/")[0], **self.value}, []))

    def start(self, epoch):
        """Of a relay: both ids get a new epoch, whatever was open is aborted, and a start record is committed."""
        self.epoch = epoch
        for each in IDS:
            if epoch:
                self.history.transactions.append(Transaction(each, 7, epoch, "PrepareAbort", ("orders",)))
            self.history.transactions.append(Transaction(each, 7, epoch, "Empty", ()))
        self.commit(b"/start", b"{}", ())

    def commit(self, suffix, value, topics):
        self.history.positions.append(Message("once.positions", 0, self.offset("positions"), 0, SOURCE.encode() + suffix, value, []))
        each = IDS[len(self.history.positions) % 2]
        self.history.transactions += [Transaction(each, 7, self.epoch, state, (*topics, "once.positions") if "Comp" not in state else ())
                                      for state in ("Ongoing", "PrepareCommit", "CompleteCommit")]

    def redrive(self):
        """In two transactions; the position stands still meanwhile."""
        self.held, half = None, len(self.aside) // 2
        for rows in (self.aside[:half], self.aside[half:]):
            self.redrive_no += 1
            self.history.redriven[0, self.redrive_no] = [row.id for row in rows]
            self.messages(rows)
            self.record(self.value)

    def messages(self, rows):
        payloads = {intent.id: f"payload {intent.order}".encode() for intent in self.history.intents}
        for row in rows:
            if (row.topic, row.key) == self.held:
                self.aside.append(row)
                self.history.parked.add(row.id)
                continue
            self.counter += 1
            partition = (murmur2(row.key) & 0x7FFFFFFF) % TOPICS[row.topic]
            headers = [("once-id", row.id.encode()), ("once-source", SOURCE.encode()),
                       ("once-position", str(self.counter).encode()), ("once-topic", row.topic.encode())]
            self.history.final.append(Message(row.topic, partition, self.offset((row.topic, partition)), 0, row.key,
                                              payloads[row.id], headers))

    def position(self, before, now, slice_seq, last=None):
        """Without a last event it keeps the one before's."""
        value = self.value | {"s_prev": before, "s_now": now, "slice_seq": None if slice_seq is None else str(slice_seq)}
        if last:
            value |= {"last_seq": str(last.seq), "last_id": last.id}
        self.record(value)

    def record(self, value):
        self.value = value | {"counter": str(self.counter), "redrive_no": str(self.redrive_no)}
        self.commit(b"", json.dumps(self.value).encode(), TOPICS)

    def offset(self, name):
        self.offsets[name] = self.offsets.get(name, -1) + 1 + (self.chance.random() < 0.1)
        return self.offsets[name]
