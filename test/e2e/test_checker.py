"""The checker itself, by mutation: every kind of damage to a good history is caught, none is found in a good one."""
import copy
import json
import random
from dataclasses import replace

import pytest

from support import checker
from support.checker import History, Intent, Row, check, digest, murmur2
from support.inbox_checker import Effect, check_inbox
from support.kafka import Message

SOURCE = "11111111-2222-3333-4444-555555555555/0"
TOPICS = {"orders": 4, "bills": 2}


class Builder:
    """A history as a correct relay leaves it: transactions overlap, differences of snapshots, some read in slices."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.history = History(partitions=dict(TOPICS))
        self.offsets = {}
        self.counter = 0
        self.versions = {}
        self.seq = 0
        self.xid = 100
        self.running = {}

    def build(self, batches=30):
        snapshot = "3:3:"
        self.position(None, snapshot, None, None)
        shipped = set()
        for _ in range(batches):
            self.write()
            now = self.snapshot()
            seen = checker.Snapshot(now)
            rows = sorted((row for row in self.history.rows if row.id not in shipped and seen.sees(row.xid)),
                          key=lambda row: row.seq)
            self.ship(rows, snapshot, now)
            shipped |= {row.id for row in rows}
            snapshot = now
        for xid in list(self.running):
            self.finish(xid)
        now = self.snapshot()
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

    def messages(self, rows):
        payloads = {intent.id: f"payload {intent.order}".encode() for intent in self.history.intents}
        for row in rows:
            self.counter += 1
            partition = (murmur2(row.key) & 0x7FFFFFFF) % TOPICS[row.topic]
            headers = [("once-id", row.id.encode()), ("once-source", SOURCE.encode()),
                       ("once-position", str(self.counter).encode())]
            self.history.final.append(Message(row.topic, partition, self.offset((row.topic, partition)), 0, row.key,
                                              payloads[row.id], headers))

    def position(self, before, now, slice_seq, last):
        value = {"s_prev": before, "s_now": now, "slice_seq": None if slice_seq is None else str(slice_seq),
                 "last_seq": str(last.seq) if last else None, "last_id": last.id if last else None,
                 "redrive_no": "0", "counter": str(self.counter)}
        self.history.positions.append(Message("once.positions", 0, self.offset("positions"), 0, SOURCE.encode(),
                                              json.dumps(value).encode(), []))

    def offset(self, name):
        self.offsets[name] = self.offsets.get(name, -1) + 1 + (self.chance.random() < 0.1)
        return self.offsets[name]


def good(seed=7):
    return Builder(seed).build()


def same_key(history):
    """Places of two neighbours of one key in the final log."""
    last = {}
    for place, message in enumerate(history.final):
        name = (message.topic, message.key)
        if name in last and place > 40:
            return last[name], place
        last[name] = place
    raise AssertionError("no key with two messages")


def drop(history):
    del history.final[len(history.final) // 2]


def drop_last(history):
    history.live = []
    history.final.pop()


def double(history):
    message = history.final[10]
    history.final.append(message._replace(offset=10_000))


def swap(history):
    history.live = []
    one, two = same_key(history)
    first, second = history.final[one], history.final[two]
    history.final[one], history.final[two] = second._replace(offset=first.offset), first._replace(offset=second.offset)


def invent(history):
    headers = [("once-id", b"never published"), ("once-source", SOURCE.encode()), ("once-position", b"100000")]
    history.final.append(history.final[0]._replace(offset=10_000, headers=headers))


def show_rolled_back(history):
    lost = next(intent for intent in history.intents if intent.outcome == "rolled back")
    headers = [("once-id", lost.id.encode()), ("once-source", SOURCE.encode()), ("once-position", b"100000")]
    history.final.append(Message(lost.topic, 0, 10_000, 0, lost.key, b"x", headers))


def tear(history):
    """A transaction's messages are there, its position record is not."""
    history.positions.pop()
    while checker.parse_position(history.positions[-1]).counter == counter_of(history.final[-1]):
        history.positions.pop()


def tear_other_way(history):
    """The position record is there and one of its messages is not, nor its row: the intent log alone knows."""
    history.live = []
    gone = history.final.pop(len(history.final) - 2)
    history.waiting = {checker.header(gone, "once-id")}


def fork(history):
    """Two successors of one position."""
    history.positions.append(history.positions[-2]._replace(offset=10_000))


def fork_snapshot(history):
    place = len(history.positions) // 2
    value = json.loads(history.positions[place].value)
    value["s_prev"] = "5:5:"
    history.positions[place] = history.positions[place]._replace(value=json.dumps(value).encode())


def skip_difference(history):
    """A position moved on over rows that nobody shipped."""
    place = next(place for place in range(len(history.positions) // 2, len(history.positions) - 1)
                 if all(json.loads(history.positions[n].value)["slice_seq"] is None for n in (place - 1, place)))
    del history.positions[place]
    gone = {row.id for row in difference_of(history, place)}
    history.final = [m for m in history.final if checker.header(m, "once-id") not in gone]
    history.intents = [intent for intent in history.intents if intent.id not in gone]
    history.live = []


def difference_of(history, place):
    value = json.loads(history.positions[place].value)
    before = json.loads(history.positions[place - 1].value)
    return checker.LaneRows(history.rows).difference(before["s_now"], value["s_prev"])


def move_boundary(history):
    """A message belongs to the transaction before: it was visible when its position says it was not."""
    place = next(place for place in range(5, len(history.positions))
                 if 0 < checker.parse_position(history.positions[place]).counter < counter_of(history.final[-1]))
    value = json.loads(history.positions[place].value)
    value["counter"] = str(int(value["counter"]) + 1)
    history.positions[place] = history.positions[place]._replace(value=json.dumps(value).encode())


def renumber(history):
    message = history.final[20]
    headers = [(name, b"5" if name == "once-position" else value) for name, value in message.headers]
    history.final[20] = message._replace(headers=headers)
    history.live = []


def wrong_last(history):
    place = max(n for n, record in enumerate(history.positions) if json.loads(record.value)["last_id"])
    value = {**json.loads(history.positions[place].value), "last_id": "another"}
    history.positions[place] = history.positions[place]._replace(value=json.dumps(value).encode())


def change_payload(history):
    history.live = []
    history.final[5] = history.final[5]._replace(value=b"other")


def change_key(history):
    history.live = []
    history.final[5] = history.final[5]._replace(key=b"other")


def add_header(history):
    history.live = []
    history.final[5] = history.final[5]._replace(headers=history.final[5].headers + [("x", b"y")])


def move_partition(history):
    history.live = []
    message = next(m for m in history.final if m.topic == "orders")
    history.final[history.final.index(message)] = message._replace(partition=(message.partition + 1) % 4)


def reader_saw_aborted(history):
    extra = history.live[0][-1]._replace(value=b"aborted")
    history.live[0].append(extra)


def reader_saw_hole(history):
    """What a torn commit or a read of aborted data looks like to one who reads live."""
    one, _ = same_key(history)
    live = list(history.final)
    del live[one]
    history.live = [live]


def counter_of(message):
    return int(checker.header(message, "once-position"))


MUTATIONS = [
    (drop, "I1"), (drop_last, "I1"), (double, "I2"), (swap, "I4"), (invent, "I3"), (show_rolled_back, "I3"),
    (tear, "I6"), (tear_other_way, "I6"), (fork, "I7"), (fork_snapshot, "I7"), (skip_difference, "I7"), (move_boundary, "I6"),
    (renumber, "I6"), (wrong_last, "I6"), (change_payload, "I15"), (change_key, "I15"), (add_header, "I15"),
    (move_partition, "I15"), (reader_saw_aborted, "I9"), (reader_saw_hole, "I5"), (reader_saw_hole, "I9"),
]


@pytest.mark.parametrize("seed", range(20))
def test_good_history_is_good(seed):
    history = good(seed)
    report = check(history)
    assert report.ok, report
    assert report.published == report.delivered > 50


@pytest.mark.parametrize("mutation, invariant", MUTATIONS, ids=[f"{i}_{m.__name__}" for m, i in MUTATIONS])
def test_damage_is_caught(mutation, invariant):
    for seed in range(5):
        history = copy.deepcopy(good(seed))
        mutation(history)
        report = check(history)
        assert invariant in report.invariants(), f"seed {seed}: {report}"


def test_I11_unknown_outcome_is_decided_by_the_table():
    history = good()
    there = next(i for i in history.intents if i.outcome == "committed")
    gone = next(i for i in history.intents if i.outcome == "rolled back")
    history.intents = [replace(i, outcome="unknown") if i in (there, gone) else i for i in history.intents]
    assert check(history).ok
    history.final = [m for m in history.final if checker.header(m, "once-id") != there.id]
    assert "I1" in check(history).invariants()


def test_parked_and_redriven_events_are_accounted_for():
    """Parked on the main path, shipped later under a redrive number: exact. Never parked: torn."""
    builder = Builder(3)
    builder.write()
    for xid in list(builder.running):
        builder.finish(xid)
    now, history = builder.snapshot(), builder.history
    parked = history.rows[-1]
    builder.position(None, "3:3:", None, None)
    builder.messages(history.rows[:-1])
    builder.position("3:3:", now, None, parked)
    builder.messages([parked])
    builder.position("3:3:", now, None, parked)
    value = {**json.loads(history.positions[-1].value), "redrive_no": "1"}
    history.positions[-1] = history.positions[-1]._replace(value=json.dumps(value).encode())
    assert "I6" in check(history).invariants()
    history.parked = {parked.id}
    assert check(history).ok
    history.redriven = {(0, 1): [parked.id]}
    assert check(history).ok, check(history)
    history.redriven = {(0, 1): []}
    assert "I6" in check(history).invariants()


def test_murmur2_is_kafkas():
    """Values of Apache Kafka's UtilsTest."""
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536,
             b"a-little-bit-longer-string": -1486304829, b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
             b"abc": 479470107}
    for text, value in known.items():
        assert murmur2(text) == value & 0xFFFFFFFF


# What a receiving database made of a log: I13, I15.

def received(seed=7):
    """A good log of which every third message comes twice, with the same id; effects of two partitions mixed; stored offsets."""
    chance = random.Random(seed)
    log, streams, stored, done = [], [], {}, set()
    for partition in range(2):
        offset, effects = 0, []
        for number in range(60):
            identity = f"{partition}-{number - 1 if number % 3 == 2 else number}"
            key = b"k%d" % chance.randrange(5)
            headers = [] if number % 10 == 9 else [("once-id", identity.encode())]
            log.append(Message("orders", partition, offset, 0, key, b"value %d" % number, headers))
            if not headers or identity not in done:
                effects.append(Effect("orders", partition, offset, key, b"value %d" % number))
            if headers:
                done.add(identity)
            offset += 1 + (chance.random() < 0.2)
        stored["orders", partition] = offset + chance.randrange(2)
        streams.append(effects)
    mixed = []
    while any(streams):
        mixed.append(chance.choice([stream for stream in streams if stream]).pop(0))
    return log, mixed, stored


def act_twice(log, effects, stored):
    effects.append(effects[3])


def act_on_duplicate(log, effects, stored):
    acted = {(e.partition, e.offset) for e in effects}
    other = next(m for m in log if (m.partition, m.offset) not in acted)
    effects.append(Effect(other.topic, other.partition, other.offset, other.key, other.value))


def forget_effect(log, effects, stored):
    del effects[len(effects) // 2]


def forget_last_effect(log, effects, stored):
    effects.pop()


def swap_effects(log, effects, stored):
    one = next(n for n in range(len(effects)) if any(e.key == effects[n].key and e.partition == effects[n].partition for e in effects[n + 1:]))
    two = next(n for n in range(one + 1, len(effects)) if effects[n].key == effects[one].key and effects[n].partition == effects[one].partition)
    effects[one], effects[two] = effects[two], effects[one]


def act_on_nothing(log, effects, stored):
    effects.append(replace(effects[0], offset=10_000))
    stored["orders", effects[0].partition] = 10_001


def change_effect(log, effects, stored):
    effects[5] = replace(effects[5], payload=b"other")


def change_effect_key(log, effects, stored):
    effects[5] = replace(effects[5], key=b"other")


def offset_behind(log, effects, stored):
    stored["orders", 1] = max(e.offset for e in effects if e.partition == 1)


def offset_missing(log, effects, stored):
    stored["orders", 0] = None


RECEIVED = [(act_twice, "doubled"), (act_on_duplicate, "doubled"), (forget_effect, "lost"), (forget_last_effect, "lost"), (swap_effects, "inverted"),
            (act_on_nothing, "phantom"), (change_effect, "altered"), (change_effect_key, "altered"), (offset_behind, "torn"), (offset_missing, "torn")]


def test_I13_good_receiving_is_good():
    for seed in range(20):
        report = check_inbox(*received(seed))
        assert report.ok and report.published == report.delivered > 60, report


@pytest.mark.parametrize("mutation, kind", RECEIVED, ids=[mutation.__name__ for mutation, _ in RECEIVED])
def test_I13_damage_in_receiving_is_caught(mutation, kind):
    for seed in range(5):
        history = received(seed)
        mutation(*history)
        assert check_inbox(*history).count(kind) > 0, f"seed {seed}: {check_inbox(*history)}"
