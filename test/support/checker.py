"""The history checker: decides from histories alone whether exactly-once and order held.

It knows nothing of how the relay works, only what the design promises: what writers intended and how their
transactions ended (Intent), what the tables say (Row), what readers saw (kafka.Message, in log order per partition),
what the position topic and the coordinators of Kafka's transactions say. `check(History(...))` returns a Report;
`Report.ok` is the verdict, and where one of these is empty it is no.
Its own mutation tests are in test/e2e/test_checker.py: each kind of damage to a good history is caught.
"""
import bisect
import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import Dict, List, Optional, Set, Tuple

from .report import Report
from .transaction_checker import check_transactions

OURS = ("once-id", "once-source", "once-position", "once-topic")


@dataclass(frozen=True)
class Intent:
    """One event that a writer published. `order` rises per (topic, key) in the order of the row locks."""
    id: str
    topic: str
    key: Optional[bytes]
    digest: Optional[str]
    outcome: str  # committed | rolled back | unknown (the answer to COMMIT was lost)
    order: Optional[int] = None
    partition: Optional[int] = None
    headers: Optional[Tuple] = None  # ((name, value), …); None: not compared


@dataclass(frozen=True)
class Row:
    """One event as the event tables have it, read after the writers ended and before anything was trimmed."""
    lane: int
    seq: int
    xid: int
    id: str
    topic: str
    key: Optional[bytes]
    digest: Optional[str]
    partition: Optional[int] = None


@dataclass(frozen=True)
class Reported:
    """A position that a relay told the database, and which events it trimmed away then although they had not been passed."""
    lane: int
    position: Dict
    missing: List


@dataclass
class History:
    intents: List[Intent] = field(default_factory=list)
    rows: List[Row] = field(default_factory=list)
    final: List = field(default_factory=list)
    live: List = field(default_factory=list)  # one list of messages per live reader
    positions: List = field(default_factory=list)  # messages of once.positions, in log order
    transactions: List = field(default_factory=list)  # of our transactional ids, in their coordinators' order
    reports: Optional[List[Reported]] = None  # None: nobody watched
    parked: Set[str] = field(default_factory=set)  # ids that a committed dead_letter entry kept from the main path
    waiting: Set[str] = field(default_factory=set)  # of these, the ones still there at the end
    redriven: Dict = field(default_factory=dict)  # (lane, redrive_no) -> the ids that were stamped with it, by seq
    skipped: Set[str] = field(default_factory=set)  # parked under `skip`: their key went on without them
    partitions: Dict[str, int] = field(default_factory=dict)  # topic -> count, for the default partitioner


def digest(payload):
    return None if payload is None else hashlib.sha256(payload).hexdigest()


def header(message, name):
    for found, value in message.headers:
        if found == name:
            return None if value is None else value.decode()
    return None


def check(history):
    report = Report()
    events = _events(history)
    report.published = sum(event.outcome == "committed" for event in events.values())
    report.delivered = len(history.final)
    log = _by_partition(history.final)
    _check_evidence(history, report)
    _check_presence(history, events, report)
    _check_order(history, events, log, report)
    _check_content(history, events, report)
    for number, live in enumerate(history.live):
        _check_prefix(number, _by_partition(live), log, report)
        _check_holes(history, events, live, f"live reader {number}", report)
    _check_positions(history, report)
    _check_reports(history, report)
    check_transactions(history, report)
    return report


def _events(history):
    """id -> Intent with its outcome decided: a row proves the commit of an unknown one (I11), and rows of writers
    that kept no log count as intents of their own, ordered per key by seq."""
    rows = {row.id: row for row in history.rows}
    events = {}
    for intent in history.intents:
        outcome = intent.outcome
        if outcome == "unknown" and history.rows:
            outcome = "committed" if intent.id in rows else "rolled back"
        events[intent.id] = Intent(intent.id, intent.topic, intent.key, intent.digest, outcome, intent.order,
                                   intent.partition, intent.headers)
    for row in history.rows:
        if row.id not in events:
            order = None if row.key is None else row.seq
            events[row.id] = Intent(row.id, row.topic, row.key, row.digest, "committed", order, row.partition)
    return events


def _by_partition(messages):
    log = defaultdict(list)
    for message in messages:
        log[(message.topic, message.partition)].append(message)
    return log


def _check_evidence(history, report):
    """What was not looked at proves nothing."""
    inputs = {"event was published": report.published, "row was read": history.rows,
              "position record was read": history.positions, "transaction was read": history.transactions}
    if history.reports is not None:
        inputs["position was reported"] = history.reports
    inputs |= {f"message was seen by live reader {n}": live for n, live in enumerate(history.live)}
    for name, found in inputs.items():
        if not found:
            report.add("unproven", "evidence", f"no {name}")


def _check_presence(history, events, report):
    """I1 no loss, I2 no id twice, I3 no message without a committed row."""
    seen = Counter(header(message, "once-id") for message in history.final)
    for identity, event in events.items():
        if event.outcome == "committed" and identity not in seen and identity not in history.waiting:
            report.add("lost", "I1", f"{identity} {event.topic} key {event.key} order {event.order}")
    for identity, times in seen.items():
        for _ in range(times - 1):
            report.add("doubled", "I2", f"{identity} stands {times} times in the log")
        if identity in history.waiting:
            report.add("doubled", "I2", f"{identity} stands in the log and waits to be shipped again")
        event = events.get(identity)
        if event is None or event.outcome == "rolled back":
            report.add("phantom", "I3", f"{identity}: {'unknown id' if event is None else 'it rolled back'}")
    for row in history.rows:
        intent = events[row.id]
        if intent.outcome == "rolled back":
            report.add("phantom", "I3", f"{row.id} stands in the table and rolled back")


def _check_order(history, events, log, report):
    """I4 per key in the order of row locks, in one partition. I5 no hole: what is there of a key is a beginning."""
    homes = {}
    for (topic, partition), messages in sorted(log.items()):
        last = {}
        for message in messages:
            event = events.get(header(message, "once-id"))
            if event is None or event.order is None or event.id in history.skipped:
                continue
            name = (topic, event.key)
            if event.order < last.get(name, event.order):
                report.add("inverted", "I4", f"{topic}[{partition}] offset {message.offset} key {event.key}: "
                                             f"{event.order} after {last[name]}")
            last[name] = max(event.order, last.get(name, event.order))
            if event.partition is None and homes.setdefault(name, partition) != partition:
                report.add("inverted", "I4", f"{topic} key {event.key} in partitions {homes[name]} and {partition}")
    _check_holes(history, events, history.final, "final log", report)


def _check_holes(history, events, messages, reader, report):
    present = {header(message, "once-id") for message in messages}
    highest = {}
    for identity in present:
        event = events.get(identity)
        if event is not None and event.order is not None:
            name = (event.topic, event.key)
            highest[name] = max(event.order, highest.get(name, event.order))
    for identity, event in events.items():
        if (event.outcome == "committed" and event.order is not None and identity not in present
                and identity not in history.skipped and event.order < highest.get((event.topic, event.key), 0)):
            kind = "lost" if reader == "final log" else "misread"
            report.add(kind, "I5", f"{reader}: {event.topic} key {event.key} has a hole at {event.order}")


def _check_content(history, events, report):
    """I15: key, payload, headers and partition as published."""
    for message in history.final:
        event = events.get(header(message, "once-id"))
        if event is None:
            continue
        where = f"{event.id} at {message.topic}[{message.partition}] offset {message.offset}"
        if message.topic != event.topic or message.key != event.key:
            report.add("altered", "I15", f"{where}: key {message.key} instead of {event.key}")
        if digest(message.value) != event.digest:
            report.add("altered", "I15", f"{where}: other payload")
        if sorted(name for name, _ in message.headers if name.startswith("once-")) != sorted(OURS):
            report.add("altered", "I15", f"{where}: not one of each once- header")
        elif header(message, "once-topic") != message.topic:
            report.add("altered", "I15", f"{where}: once-topic is {header(message, 'once-topic')}")
        own = tuple((name, value) for name, value in message.headers if not name.startswith("once-"))
        if event.headers is not None and sorted(own) != sorted(event.headers):
            report.add("altered", "I15", f"{where}: headers {own} instead of {event.headers}")
        wanted = event.partition
        if wanted is None and event.key is not None and message.topic in history.partitions:
            wanted = (murmur2(event.key) & 0x7FFFFFFF) % history.partitions[message.topic]
        if wanted is not None and message.partition != wanted:
            report.add("altered", "I15", f"{where}: partition {wanted} was meant")


def _check_prefix(number, live, log, report):
    """I9: a live read_committed reader saw a beginning of the final log, message by message."""
    for (topic, partition), messages in live.items():
        final = log.get((topic, partition), [])
        for index, message in enumerate(messages):
            if index >= len(final) or final[index] != message:
                report.add("misread", "I9", f"live reader {number}: {topic}[{partition}] offset {message.offset} "
                                            f"(the {index + 1}th) is not what the final log has there")
                break


@dataclass(frozen=True)
class Position:
    offset: int
    source: str
    lane: int
    s_prev: Optional[str]  # None: the genesis
    s_now: str
    slice_seq: Optional[int]
    last_seq: Optional[int]
    last_id: Optional[str]
    redrive_no: int
    counter: int
    mode: Optional[str]  # of a rearm

    @property
    def reach(self):
        return self.s_prev, self.s_now, self.slice_seq

    @property
    def last(self):
        return self.last_seq, self.last_id


def parse_position(message):
    """A record of once.positions, or None for a start record and other keys of the relay's own."""
    source = message.key.decode()
    if source.count("/") != 1:
        return None
    return position_of(message.offset, source, json.loads(message.value))


def position_of(offset, source, value):
    number = lambda name: None if value.get(name) is None else int(value[name])
    return Position(offset, source, int(source.split("/")[1]), value.get("s_prev"), value["s_now"],
                    number("slice_seq"), number("last_seq"), value.get("last_id"), number("redrive_no") or 0,
                    number("counter"), value.get("mode"))


class Snapshot:
    """pg_snapshot's text, xmin:xmax:xip,…"""

    def __init__(self, text):
        xmin, xmax, running = text.split(":")
        self.xmin, self.xmax = int(xmin), int(xmax)
        self.running = {int(xid) for xid in running.split(",") if xid}

    def sees(self, xid):
        return xid < self.xmax and xid not in self.running

    def covers(self, earlier):
        """Sees everything that `earlier` saw. What only ran then may be forgotten after a crash, and its id too."""
        return (all(xid in earlier.running for xid in range(self.xmax, earlier.xmax))
                and not any(earlier.sees(xid) for xid in self.running))


class LaneRows:
    """Rows of one lane, to answer 'which rows are in s_now and not in s_prev' without a full scan each time."""

    def __init__(self, rows):
        self.rows = sorted(rows, key=lambda row: row.xid)
        self.xids = [row.xid for row in self.rows]
        self.by_xid = defaultdict(list)
        for row in self.rows:
            self.by_xid[row.xid].append(row)
        self.cache = (None, None)

    def difference(self, s_prev, s_now):
        if self.cache[0] == (s_prev, s_now):
            return self.cache[1]
        before, after = Snapshot(s_prev), Snapshot(s_now)
        began = bisect.bisect_left(self.xids, before.xmax), bisect.bisect_left(self.xids, after.xmax)
        ran = [row for xid in before.running for row in self.by_xid.get(xid, ())]
        found = sorted((row for row in ran + self.rows[slice(*began)] if after.sees(row.xid)), key=lambda row: row.seq)
        self.cache = ((s_prev, s_now), found)
        return found


def _check_positions(history, report):
    """I6: a record's messages are exactly the difference it names, in seq order. I7: one unforked, rising line."""
    messages = defaultdict(lambda: defaultdict(list))
    for message in history.final:
        source, number = header(message, "once-source"), header(message, "once-position")
        if source is None or number is None:
            report.add("altered", "I15", f"{message.topic}[{message.partition}] offset {message.offset}: no once- headers")
        else:
            messages[source][int(number)].append(header(message, "once-id"))
    _check_numbers(history, report)
    lines = defaultdict(list)
    for record in history.positions:
        position = parse_position(record)
        if position:
            lines[position.source].append(position)
    lanes = {lane: LaneRows([row for row in history.rows if row.lane == lane])
             for lane in {line[0].lane for line in lines.values()}}
    for source, line in lines.items():
        if line[0].s_prev is not None or line[0].counter:
            report.add("forked", "I7", f"{source}: the first record, at offset {line[0].offset}, is no beginning")
        for before, now in zip(line, line[1:]):
            _check_step(history, before, now, lanes[now.lane], messages[source], report)
        for number in sorted(n for n in messages[source] if n > line[-1].counter or n <= line[0].counter):
            report.add("torn", "I6", f"{source}: message {number} is covered by no position record")
    for source in set(messages) - set(lines):
        report.add("torn", "I6", f"{source}: messages and no position record at all")


def _check_numbers(history, report):
    """I7: numbers rise per (source, topic, partition). A receiver that keeps the last one drops what comes below it."""
    last = {}
    for message in history.final:
        name = (header(message, "once-source"), message.topic, message.partition)
        number = int(header(message, "once-position") or 0)
        if name[0] and number <= last.get(name, 0):
            report.add("inverted", "I7", f"{message.topic}[{message.partition}] offset {message.offset}: number {number} "
                                         f"after {last[name]} of {name[0]}")
        last[name] = max(number, last.get(name, 0))


def _check_step(history, before, now, lane, messages, report):
    where = f"{now.source} record at offset {now.offset} (counter {before.counter} to {now.counter})"
    if now.counter < before.counter or now.redrive_no < before.redrive_no:
        report.add("forked", "I7", f"{where}: goes back")
    elif now.s_prev is None:
        report.add("forked", "I7", f"{where}: begins again")
    elif now.reach == before.reach:
        _check_beside(history, before, now, where, messages, report)
    elif now.redrive_no != before.redrive_no:
        report.add("torn", "I6", f"{where}: a redrive together with a difference")
    elif not _follows(before, now, lane):
        report.add("forked", "I7", f"{where}: {now.s_prev} → {now.s_now} / {now.slice_seq} does not follow "
                                   f"{before.s_prev} → {before.s_now} / {before.slice_seq}")
    else:
        _check_difference(history, before, now, lane, where, messages, report)


def _check_difference(history, before, now, lane, where, messages, report):
    low = before.slice_seq if before.slice_seq is not None else -1
    high = now.slice_seq if now.slice_seq is not None else 1 << 63
    passed = [row for row in lane.difference(now.s_prev, now.s_now) if low < row.seq <= high]
    _compare([row.id for row in passed if row.id not in history.parked], before, now, where, messages, report)
    last = (passed[-1].seq, passed[-1].id) if passed else before.last
    if now.last != last:
        report.add("torn", "I6", f"{where}: names {now.last} as the last event passed, it is {last}")


def _check_beside(history, before, now, where, messages, report):
    """A record that moves on nowhere ships one redrive, or says that somebody let the lane go on."""
    expected = []
    if now.redrive_no == before.redrive_no + 1:
        expected = list(history.redriven.get((now.lane, now.redrive_no), ()))
        if not expected:
            report.add("torn", "I6", f"{where}: redrive {now.redrive_no} has no entry")
    elif now.redrive_no != before.redrive_no or now.mode != "continue":
        report.add("forked", "I7", f"{where}: stands beside the one before it")
    _compare(expected, before, now, where, messages, report)
    if now.last != before.last:
        report.add("torn", "I6", f"{where}: passes {now.last} on the main path")


def _follows(before, now, lane):
    """The rest of an unfinished difference, or one that begins where the last ended. Where nothing was published in
    between, the relay may have moved on without a record."""
    if before.slice_seq is not None:
        return (now.s_prev, now.s_now) == (before.s_prev, before.s_now) and (
            now.slice_seq is None or now.slice_seq > before.slice_seq)
    return (Snapshot(now.s_prev).covers(Snapshot(before.s_now)) and Snapshot(now.s_now).covers(Snapshot(now.s_prev))
            and (now.s_prev == before.s_now or not lane.difference(before.s_now, now.s_prev)))


def _compare(expected, before, now, where, messages, report):
    found = []
    for number in range(before.counter + 1, now.counter + 1):
        at = messages.get(number, [])
        if len(at) != 1:
            report.add("torn", "I6", f"{where}: {len(at)} messages have number {number}")
        found += at
    if found != expected:
        missing, extra = set(expected) - set(found), set(found) - set(expected)
        what = f"{len(missing)} of what it names missing, {len(extra)} not of it" if missing or extra else "other order"
        report.add("torn", "I6", f"{where}: {what}")


def _check_reports(history, report):
    """I10: what the database was told, and trims by, was committed; and what it does not pass was left alone."""
    committed = {replace(position, offset=0) for position in map(parse_position, history.positions) if position}
    for told in history.reports or ():
        position = position_of(0, f"{told.position['incarnation']}/{told.lane}", told.position)
        if position not in committed:
            report.add("torn", "I10", f"{position.source}: counter {position.counter} was reported and never committed")
        if told.missing is None or told.missing:
            report.add("torn", "I10", f"{position.source}: at counter {position.counter} events were trimmed that it has not passed: "
                                      f"{told.missing}")


def murmur2(data):
    """Kafka's default partitioner hash, as 32-bit unsigned."""
    mask, magic = 0xFFFFFFFF, 0x5BD1E995
    value = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        part = (int.from_bytes(data[at:at + 4], "little") * magic) & mask
        part = ((part ^ (part >> 24)) * magic) & mask
        value = ((value * magic) & mask) ^ part
    rest = data[whole:]
    if rest:
        value = ((value ^ int.from_bytes(rest, "little")) * magic) & mask
    value = ((value ^ (value >> 13)) * magic) & mask
    return value ^ (value >> 15)
